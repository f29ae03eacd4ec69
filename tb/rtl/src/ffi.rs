//! The C++ side of the device.

#[cxx::bridge(namespace = "hmmu")]
pub mod bridge {
    /// What the machine drives in one clock. A 128-bit value is two words, low first.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct In {
        /// A beat for the device is on the receive stream.
        rx_valid: bool,
        /// First beat of a TLP.
        rx_sop: bool,
        /// Last beat of a TLP.
        rx_eop: bool,
        /// TLP header, valid with `rx_sop`; DW 0 in the top 32 bits.
        rx_hdr: [u64; 2],
        /// Payload.
        rx_data: [u64; 2],
        /// The machine takes a beat of the transmit stream.
        tx_ready: bool,
        /// The memory takes a VRAM request.
        vram_req_ready: bool,
        /// VRAM read data is there.
        vram_rsp_valid: bool,
        /// VRAM read data.
        vram_rsp_rdata: [u64; 2],
        /// What the driver does, for waves (`host_state_e`).
        host_state: u8,
        /// The page it does it to (virtual page number).
        host_page: u64,
        /// The fault it serves.
        host_fault_id: u32,
    }

    /// What the device drives in the same clock.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Out {
        /// The device takes the beat on the receive stream.
        rx_ready: bool,
        /// A beat is on the transmit stream.
        tx_valid: bool,
        /// First beat of a TLP.
        tx_sop: bool,
        /// Last beat of a TLP.
        tx_eop: bool,
        /// TLP header, valid with `tx_sop`; DW 0 in the top 32 bits.
        tx_hdr: [u64; 2],
        /// Payload.
        tx_data: [u64; 2],
        /// A VRAM request is there.
        vram_req_valid: bool,
        /// It writes.
        vram_req_write: bool,
        /// Its byte address, 16-byte aligned.
        vram_req_addr: u64,
        /// Data to write.
        vram_req_wdata: [u64; 2],
        /// Bytes to write, one bit each.
        vram_req_wstrb: u16,
        /// The device takes VRAM read data.
        vram_rsp_ready: bool,
        /// Kinds of steps that translation made in the clock before, one bit each.
        steps: u8,
    }

    /// What the link's configuration space tells the device; constant after reset.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Config {
        /// Bus, device and function number of the device.
        bdf: u16,
        /// Max_Payload_Size, PCIe encoding (0 = 128 bytes).
        mps: u8,
        /// Max_Read_Request_Size, PCIe encoding (0 = 128 bytes).
        mrrs: u8,
        /// Read Completion Boundary: true 128 bytes, false 64.
        rcb128: bool,
        /// Bus address of BAR0.
        bar0: u64,
        /// Bus address of BAR2.
        bar2: u64,
        /// Bytes of VRAM.
        vram_size: u64,
    }

    /// How much of the host the waves show.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct HostSlots {
        /// Lines of the event log at a time.
        lines: u32,
        /// Threads.
        threads: u32,
        /// Pages.
        pages: u32,
        /// Bytes of a line, and of what a thread did.
        text: u32,
    }

    unsafe extern "C++" {
        include!("sim.h");
        type Device;
        fn new_device(config: &Config) -> Result<UniquePtr<Device>>;
        fn reset(self: Pin<&mut Device>) -> Result<()>;
        fn tick(self: Pin<&mut Device>, input: &In, output: &mut Out) -> Result<()>;
        fn step(&self, kind: u8) -> [u64; 2];
        fn trace_open(self: Pin<&mut Device>, path: &CxxString, depth: u32) -> Result<()>;
        fn time(&self) -> u64;
        fn trace_close(self: Pin<&mut Device>);
        fn cycle(&self) -> u64;
        fn host_slots(&self) -> HostSlots;
        fn show_line(self: Pin<&mut Device>, slot: u32, text: &str);
        fn show_thread(self: Pin<&mut Device>, slot: u32, text: &str);
        fn show_page(self: Pin<&mut Device>, slot: u32, mm: u16, addr: u64, home: u8);
        fn trace_moment(self: Pin<&mut Device>) -> bool;
    }
}

// SAFETY: a Device owns its model and its VerilatedContext, shares nothing with other devices, and every call
// first makes its own context the calling thread's.
unsafe impl Send for bridge::Device {}
