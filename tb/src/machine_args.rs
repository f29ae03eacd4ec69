//! Options that say what machine a command runs on.

use clap::Args;

use crate::cli::Common;
use crate::machine::MachineConfig;
use crate::placement::Placement;

/// The machine and the driver's policy.
#[derive(Args, Clone, Debug)]
pub struct MachineArgs {
    /// What the driver does with a page on a device fault.
    #[arg(long, value_enum, default_value = "migrate")]
    pub policy: Placement,
    /// Device memory: bytes, or with a suffix K, M or G.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "16M")]
    vram: u64,
    /// The link, such as gen3x8.
    #[arg(long, value_name = "LINK", default_value = "gen3x8")]
    link: String,
}

impl MachineArgs {
    /// The machine, with at least `ram` bytes of system memory.
    ///
    /// # Errors
    /// One line: something that this build or this machine does not have.
    pub fn machine(&self, common: &Common, ram: u64) -> Result<MachineConfig, String> {
        let mut machine = MachineConfig {
            vram: self.vram,
            ..common.machine()
        };
        machine.link = self.link.parse()?;
        machine.ram = machine.ram.max(ram.next_multiple_of(1 << 20));
        machine.check()?;
        Ok(machine)
    }
}

/// A number of bytes, with or without a suffix.
///
/// # Errors
/// One line.
pub fn size(text: &str) -> Result<u64, String> {
    let error = || format!("{text:?}: expected a size such as 65536, 64K or 16M");
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| error())?;
    number.checked_mul(1 << shift).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_suffixes_and_an_end() {
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("64k"), Ok(65536));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "K", "-1", "0x10", "64KB", "99999999999G"] {
            assert!(
                size(wrong).is_err_and(|text| text.contains(wrong)),
                "{wrong}"
            );
        }
    }
}
