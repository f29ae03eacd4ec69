//! A script, read and compiled once for any number of runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::AST;

use super::{Variant, api, place};

/// A compiled script.
#[derive(Clone, Debug)]
pub struct Script {
    file: PathBuf,
    variant: Option<Variant>,
    ast: Arc<AST>,
}

impl Script {
    /// Reads and compiles a file.
    ///
    /// # Errors
    /// One line: it cannot be read, or where it is no script.
    pub fn load(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Self::compile(file, &text)
    }

    /// Compiles a text; `file` names it in messages.
    ///
    /// # Errors
    /// One line: where it is no script.
    pub fn compile(file: &Path, text: &str) -> Result<Self, String> {
        let ast = api::compiler().compile(text).map_err(|error| {
            let place = place(file, error.position());
            format!("{place}: {}", error.err_type())
        })?;
        Ok(Self {
            file: file.to_path_buf(),
            variant: None,
            ast: Arc::new(ast),
        })
    }

    /// Where it came from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The same script, to be run as one of its variants.
    #[must_use]
    pub fn as_variant(self, variant: Option<Variant>) -> Self {
        Self { variant, ..self }
    }

    /// The variant that it is run as; none: as the machine says.
    #[must_use]
    pub fn variant(&self) -> Option<Variant> {
        self.variant
    }

    /// Its file, and the variant.
    #[must_use]
    pub fn name(&self) -> String {
        match self.variant {
            Some(variant) => format!("{} ({variant})", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    pub(super) fn ast(&self) -> &Arc<AST> {
        &self.ast
    }
}
