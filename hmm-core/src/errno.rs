//! Error numbers.

use thiserror::Error;

macro_rules! errnos {
    ($($name:ident = $raw:literal, $text:literal;)*) => {
        /// Why an operation failed: Linux's error numbers, and the two signals that a CPU access can end in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
        #[non_exhaustive]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Errno {
            $(#[doc = $text] #[error("{}: {}", stringify!($name), $text)] $name,)*
        }

        impl Errno {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Errno] = &[$(Errno::$name),*];

            /// The name as C spells it.
            pub fn name(self) -> &'static str {
                match self { $(Errno::$name => stringify!($name),)* }
            }

            /// Linux's number. Signals are 1000 + the signal's number, so that they cannot be mistaken.
            pub fn raw(self) -> u32 {
                match self { $(Errno::$name => $raw,)* }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such entry";
    ESRCH = 3, "no such process";
    EINTR = 4, "interrupted";
    EIO = 5, "input/output error";
    ENXIO = 6, "no such device or address";
    EBADF = 9, "bad file";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "permission denied";
    EFAULT = 14, "bad address";
    EBUSY = 16, "device or resource busy";
    EEXIST = 17, "already exists";
    ENODEV = 19, "no such device";
    EINVAL = 22, "invalid argument";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left";
    EOVERFLOW = 75, "value too large";
    EOPNOTSUPP = 95, "not supported";
    ETIMEDOUT = 110, "timed out";
    EHWPOISON = 133, "memory page has a hardware error";
    SIGBUS = 1007, "bus error";
    SIGSEGV = 1011, "segmentation fault";
}

impl Errno {
    /// The error with Linux's number `raw`.
    pub fn from_raw(raw: u32) -> Option<Errno> {
        Errno::ALL.iter().copied().find(|e| e.raw() == raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for &e in Errno::ALL {
            assert_eq!(Errno::from_raw(e.raw()), Some(e));
            assert!(e.to_string().starts_with(e.name()));
        }
        assert_eq!(Errno::EFAULT.raw(), 14);
        assert_eq!(Errno::from_raw(0), None);
    }
}
