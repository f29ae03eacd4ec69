//! The C++ side of a block.

#[cxx::bridge(namespace = "hmmu")]
pub mod bridge {
    unsafe extern "C++" {
        include!("block.h");
        type Block;
        fn new_block(name: &CxxString) -> Result<UniquePtr<Block>>;
        fn eval(self: Pin<&mut Block>) -> Result<()>;
        fn port(&self, name: &CxxString) -> Result<u32>;
        fn width(&self, port: u32) -> Result<u32>;
        fn get(&self, port: u32, lsb: u32, width: u32) -> Result<u64>;
        fn set(self: Pin<&mut Block>, port: u32, lsb: u32, width: u32, value: u64) -> Result<()>;
    }
}
