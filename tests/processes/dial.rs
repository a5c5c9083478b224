//! Clocks of processes, set while they run.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A clock that is right, until it is set while processes read it.
#[derive(Debug)]
pub(crate) struct Dial {
    library: PathBuf,
    file: PathBuf,
}

impl Dial {
    /// One with this name in a folder, by a library that is compiled.
    pub(crate) fn new(library: &Path, folder: &Path, name: &str) -> Self {
        let dial = Self { library: library.to_owned(), file: folder.join(name) };
        fs::write(&dial.file, 0_i64.to_ne_bytes()).unwrap();
        dial
    }

    /// Has a process that is not yet started read this clock.
    pub(crate) fn under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_AHEAD_FILE", &self.file)
    }

    /// Sets it so many seconds ahead.
    pub(crate) fn set(&self, ahead_s: i64) {
        // In its place: processes have the file before their eyes.
        let file = OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all_at(&ahead_s.to_ne_bytes(), 0).unwrap();
    }
}
