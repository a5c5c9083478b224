//! Text files that people write and hand on: read whole and bounded, refused by the line that is wrong, and written
//! whole.

use serde::de::DeserializeOwned;
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

/// Longest message about what is wrong with one.
const MESSAGE_CHARS: usize = 200;

/// Why a text file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextFileError {
    /// It cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}: {reason}")]
    Flaw {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What.
        reason: String,
    },
}

/// A file's text.
#[derive(Debug)]
pub(crate) struct TextFile {
    path: PathBuf,
    text: String,
}

impl TextFile {
    /// Reads a regular file of at most so many bytes.
    pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Self, TextFileError> {
        let unreadable = |source| TextFileError::Read { path: path.to_owned(), source };
        // A pipe or a device has no end that anyone could wait for.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is not a regular file")));
        }
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        // One byte more tells a file that is too long.
        file.take(bytes_max + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > bytes_max {
            return Err(unreadable(io::Error::other(format!("it is longer than {bytes_max} bytes"))));
        }
        Ok(Self { path: path.to_owned(), text })
    }

    /// The value that the text spells in TOML.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, TextFileError> {
        toml::from_str(&self.text).map_err(|error| self.flaw(error.span().unwrap_or_default(), error.message()))
    }

    /// What is wrong at a place of the text, without repeating what stands there: that can be anything.
    pub(crate) fn flaw(&self, at: Range<usize>, reason: &str) -> TextFileError {
        let before = self.text.get(..at.start).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let reason = reason.chars().take(MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        TextFileError::Flaw { path: self.path.clone(), line, reason }
    }
}

/// Writes a text in the place of a file that is there; on return it is on disk, whole.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::Spanned;

    fn file(text: &str) -> TextFile {
        TextFile { path: PathBuf::from("some.toml"), text: text.to_owned() }
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Value {
        name: Spanned<String>,
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = |text: &str| file(text).parse::<Value>().unwrap_err().to_string();
        assert!(wrong("\n\nname = 7").starts_with("some.toml:3: "), "{}", wrong("\n\nname = 7"));
        assert!(wrong("name = \"a\"\ncolour = 1").starts_with("some.toml:2: "));
        assert!(wrong("name = \"a\"\nname = \"b\"").starts_with("some.toml:2: "));
        let good = file("# a comment\n\nname = \"a\"\n");
        let value: Value = good.parse().unwrap();
        let flaw = good.flaw(value.name.span(), "it\nis\u{1b}\twrong").to_string();
        assert_eq!(flaw, "some.toml:3: it is  wrong");
        assert_eq!(good.flaw(9999..9999, &"x".repeat(999)).to_string().len(), "some.toml:1: ".len() + MESSAGE_CHARS);
    }

    #[test]
    fn no_more_is_read_than_was_allowed_and_no_device() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.toml");
        fs::write(&path, "x = 1").unwrap();
        assert_eq!(TextFile::read(&path, 5).unwrap().text, "x = 1");
        for (path, bytes_max) in [(path.as_path(), 4), (Path::new("/dev/zero"), 4), (dir.path(), 4)] {
            assert!(matches!(TextFile::read(path, bytes_max), Err(TextFileError::Read { .. })), "{}", path.display());
        }
    }
}
