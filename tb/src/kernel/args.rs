//! Arguments of a device program, as they are written on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::machine_args::size;

/// One argument of a program: a 64-bit word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelArg {
    /// A number.
    Number(u64),
    /// The address of this many bytes of zeroed memory.
    Zero(u64),
    /// The address of memory that holds a file's bytes.
    File(PathBuf),
}

impl FromStr for KernelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(bytes) = text.strip_prefix("zero:") {
            return match size(bytes)? {
                0 => Err("no bytes: expected at least one".into()),
                bytes => Ok(Self::Zero(bytes)),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self::File(path.into()));
        }
        number(text).map(Self::Number).ok_or_else(|| {
            format!("{text:?}: expected a number (42, -1, 0x2a), zero:SIZE or file:PATH")
        })
    }
}

fn number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let signed = || text.parse::<i64>().ok().map(i64::cast_unsigned);
    text.parse().ok().or_else(signed)
}

/// Memory of an argument to be written to a file after the run: `N=FILE`, arguments counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveArg {
    /// The argument's number.
    pub number: usize,
    /// The file.
    pub file: PathBuf,
}

impl FromStr for SaveArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('=')
            .filter(|(_, file)| !file.is_empty())
            .and_then(|(number, file)| Some((number.parse().ok()?, file)));
        let (number, file) =
            parts.ok_or_else(|| format!("{text:?}: expected N=FILE, such as 0=out.bin"))?;
        Ok(Self {
            number,
            file: file.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbers_or_memory() {
        let parsed = |text: &str| text.parse::<KernelArg>();
        assert_eq!(parsed("42"), Ok(KernelArg::Number(42)));
        assert_eq!(parsed("0xff"), Ok(KernelArg::Number(255)));
        assert_eq!(parsed("-1"), Ok(KernelArg::Number(u64::MAX)));
        assert_eq!(
            parsed("18446744073709551615"),
            Ok(KernelArg::Number(u64::MAX))
        );
        assert_eq!(parsed("zero:64K"), Ok(KernelArg::Zero(65536)));
        assert_eq!(parsed("file:a.bin"), Ok(KernelArg::File("a.bin".into())));
        for wrong in [
            "",
            "x",
            "0x",
            "1.5",
            "zero:",
            "zero:0",
            "99999999999999999999",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        let saved = "1=out.bin".parse::<SaveArg>().expect("parses");
        assert_eq!((saved.number, saved.file), (1, "out.bin".into()));
        for wrong in ["", "1", "1=", "a=b", "-1=b"] {
            assert!(wrong.parse::<SaveArg>().is_err(), "{wrong}");
        }
    }
}
