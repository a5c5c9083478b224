//! Progress on long work: a bar on stderr, only at a terminal.

use super::session::Globals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal as _, path::Path};

/// Below this much, nobody has time to look at a bar.
const WORTH_BYTES: u64 = 8 << 20;

const STYLE: &str = "{prefix}: {msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";

/// A bar for one file; it shows nothing where nobody looks.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar for a file of this length.
    pub(super) fn new(globals: &Globals, path: &Path, len: Option<u64>) -> Self {
        let shown = !globals.quiet
            && !globals.json
            && std::io::stderr().is_terminal()
            && len.is_none_or(|len| len >= WORTH_BYTES);
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(len, target);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        bar.set_prefix(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        Self(bar)
    }

    /// How far one step is.
    pub(super) fn at(&self, step: &'static str, bytes: u64, of: Option<u64>) {
        self.0.set_message(step);
        if let Some(of) = of {
            self.0.set_length(of);
        }
        self.0.set_position(bytes);
    }

    /// What is waited for.
    pub(super) fn note(&self, step: &'static str) {
        self.0.set_message(step);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
