//! The command `hmmu`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    hmmu::cli::main()
}
