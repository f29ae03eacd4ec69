//! Compiling a model for what a run of it recorded.

use std::path::PathBuf;

/// What to do about the profile of a model: how often each branch of its C++ is taken.
#[derive(Clone, Debug)]
pub enum Profile {
    /// The model writes its profile into this folder when the program ends.
    Record(PathBuf),
    /// The model is compiled for the profile in this folder, which [`Profile::Record`] of the same sources
    /// has written when built in the same folder.
    Use(PathBuf),
}

impl Profile {
    /// What the environment asks for: `HMMU_PROFILE=record:FOLDER` or `use:FOLDER`.
    ///
    /// # Errors
    /// A message for the user if it is neither, or there is no such folder.
    pub fn from_env() -> Result<Option<Self>, String> {
        println!("cargo:rerun-if-env-changed=HMMU_PROFILE");
        let Some(text) = std::env::var_os("HMMU_PROFILE").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let text = text.to_string_lossy();
        let (verb, folder) = text.split_once(':').unwrap_or((&text, ""));
        let profile: fn(PathBuf) -> Self = match verb {
            "record" => Self::Record,
            "use" => Self::Use,
            _ => {
                return Err(format!(
                    "HMMU_PROFILE is `{text}`; it is `record:FOLDER` or `use:FOLDER`"
                ));
            }
        };
        if std::path::Path::new(folder).is_dir() {
            Ok(Some(profile(PathBuf::from(folder))))
        } else {
            Err(format!("HMMU_PROFILE: `{folder}` is no folder"))
        }
    }

    /// Gives the compiler its flags.
    pub(crate) fn apply(&self, build: &mut cc::Build) -> Result<(), String> {
        if !build.get_compiler().is_like_gnu() {
            return Err("HMMU_PROFILE needs g++ as the C++ compiler".to_string());
        }
        match self {
            Self::Record(folder) => build
                .flag("-fprofile-generate")
                .flag("-fprofile-update=single")
                .flag(format!("-fprofile-dir={}", folder.display())),
            Self::Use(folder) => build
                .flag("-fprofile-use")
                .flag("-fprofile-partial-training")
                .flag("-Wno-missing-profile")
                .flag(format!("-fprofile-dir={}", folder.display())),
        };
        Ok(())
    }
}
