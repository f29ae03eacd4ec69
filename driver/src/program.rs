//! Device programs.

use hmm_core::PAGE_SIZE;

/// A program for the compute units: RV64IMA code that runs wherever it is put.
///
/// A thread starts at `entry` with `a0` = address of the arguments, `a1` = its index, `a2` = number of threads and
/// `sp` = top of its stack; it ends with `ECALL`, its result in `a0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Machine code, constants and data: the image.
    pub code: Vec<u8>,
    /// Byte offset of the first instruction in the image.
    pub entry: u64,
    /// Byte offsets (multiples of 4096) of the pages of the image that threads may write. They cannot be run. Every
    /// job has pages of its own there and finds them as they are here; its threads share them.
    pub writable: Vec<u64>,
    /// Byte offsets of 64-bit words of the image to which its address is added before it runs.
    pub relative: Vec<u64>,
}

impl Program {
    /// True if it could be put somewhere and started.
    pub(crate) fn is_usable(&self) -> bool {
        let len = self.code.len() as u64;
        let page = |offset: u64| offset - offset % PAGE_SIZE;
        let writable = |offset: &u64| {
            offset.is_multiple_of(PAGE_SIZE) && *offset < len && *offset != page(self.entry)
        };
        let relative = |offset: &u64| offset.checked_add(8).is_some_and(|end| end <= len);
        self.entry < len && self.writable.iter().all(writable) && self.relative.iter().all(relative)
    }

    /// The image as it is at an address.
    pub(crate) fn image_at(&self, address: u64) -> Vec<u8> {
        let mut image = self.code.clone();
        for &offset in &self.relative {
            let word = image
                .get_mut(offset as usize..)
                .and_then(|rest| rest.first_chunk_mut::<8>());
            if let Some(word) = word {
                *word = u64::from_le_bytes(*word)
                    .wrapping_add(address)
                    .to_le_bytes();
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_hold_addresses_follow_the_image() {
        let mut code = vec![0; 24];
        code[3] = 0x10;
        let program = Program {
            code,
            relative: vec![3, 16],
            ..Program::default()
        };
        assert!(program.is_usable());
        let image = program.image_at(0x1_0000);
        assert_eq!(image[3..11], 0x1_0010_u64.to_le_bytes());
        assert_eq!(image[16..24], 0x1_0000_u64.to_le_bytes());
        assert_eq!(image[..3], [0; 3]);
    }

    #[test]
    fn offsets_outside_of_the_image_are_refused() {
        let program = |entry, writable: &[u64], relative: &[u64]| Program {
            code: vec![0; 8192],
            entry,
            writable: writable.to_vec(),
            relative: relative.to_vec(),
        };
        assert!(program(0, &[4096], &[8184]).is_usable());
        assert!(!program(8192, &[], &[]).is_usable());
        assert!(!program(4, &[0], &[]).is_usable());
        assert!(!program(4, &[100], &[]).is_usable());
        assert!(!program(4, &[8192], &[]).is_usable());
        assert!(!program(4, &[], &[8185]).is_usable());
        assert!(!program(4, &[], &[u64::MAX]).is_usable());
    }
}
