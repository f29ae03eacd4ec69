//! Variants of a script: machines that one script runs on, one after the other.

use std::fmt;

/// A kind of machine that a script's first line may name, as in `//! variants: private, coherent`. The
/// script sees which one it is by the constant `COHERENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    /// Device memory that the CPU cannot address.
    Private,
    /// Device memory that the CPU can address.
    Coherent,
}

impl Variant {
    /// Is device memory CPU-addressable?
    #[must_use]
    pub fn coherent(self) -> bool {
        self == Self::Coherent
    }

    /// The variants that a script names, in its order; none if it names no line of them.
    ///
    /// # Errors
    /// A name that is no variant's.
    pub fn of_script(text: &str) -> Result<Vec<Self>, String> {
        let first = text.lines().next().unwrap_or_default();
        let Some(names) = first.strip_prefix("//! variants:") else {
            return Ok(Vec::new());
        };
        names
            .split(',')
            .map(|name| Self::named(name.trim()))
            .collect()
    }

    fn named(name: &str) -> Result<Self, String> {
        match name {
            "private" => Ok(Self::Private),
            "coherent" => Ok(Self::Coherent),
            _ => Err(format!(
                "unknown variant {name:?}: expected private or coherent"
            )),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Coherent => "coherent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_them() {
        let both = Variant::of_script("//! variants: private, coherent\nlet x = 1;\n");
        assert_eq!(both, Ok(vec![Variant::Private, Variant::Coherent]));
        assert_eq!(Variant::of_script("// a script\n"), Ok(Vec::new()));
        assert_eq!(Variant::of_script(""), Ok(Vec::new()));
        let wrong = Variant::of_script("//! variants: private, shiny");
        assert!(wrong.is_err_and(|text| text.contains("shiny")));
    }
}
