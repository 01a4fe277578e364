//! Location of Xen for a program: the value of every `--xen` option.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The Xen to use: the one under this kernel, or an emulation in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum XenSpec {
    /// Real Xen through `/dev/xen/*`. Written `dev`.
    #[default]
    Dev,
    /// An emulation whose sockets lie in this directory. Written `emu:DIR`.
    Emu(PathBuf),
}

/// Error: a text names no Xen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadXenSpec {
    /// `emu` without a directory.
    #[error("`{0}` names no directory: write `emu:DIR`")]
    NoDirectory(String),
    /// Neither `dev` nor `emu:…`.
    #[error("unknown Xen `{0}`: write `dev` for the real one or `emu:DIR` for an emulation")]
    Unknown(String),
}

impl FromStr for XenSpec {
    type Err = BadXenSpec;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "dev" => Ok(XenSpec::Dev),
            None if text == "emu" => Err(BadXenSpec::NoDirectory(text.into())),
            Some(("emu", "")) => Err(BadXenSpec::NoDirectory(text.into())),
            Some(("emu", dir)) => Ok(XenSpec::Emu(OsStr::new(dir).into())),
            _ => Err(BadXenSpec::Unknown(text.into())),
        }
    }
}

impl fmt::Display for XenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XenSpec::Dev => f.write_str("dev"),
            XenSpec::Emu(dir) => write!(f, "emu:{}", dir.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for (text, spec) in [("dev", XenSpec::Dev), ("emu:/run/x", XenSpec::Emu("/run/x".into()))] {
            assert_eq!(text.parse(), Ok(spec.clone()));
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!("emu:a:b".parse(), Ok(XenSpec::Emu("a:b".into())));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, needle) in [("emu", "emu:DIR"), ("emu:", "emu:DIR"), ("", "dev"), ("dev:", "dev"), ("kvm", "kvm")] {
            let error = text.parse::<XenSpec>().unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
    }
}
