//! What gateways write down, kept for tests to read.

use std::{
    io,
    sync::{Mutex, OnceLock},
};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps what gateways of this process write down from now on.
pub(crate) fn keep() {
    static SUBSCRIBER: OnceLock<()> = OnceLock::new();
    SUBSCRIBER.get_or_init(|| {
        let filter = tracing_subscriber::EnvFilter::new("dmdl::gateway=info");
        tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(|| Log).init();
    });
}

/// All that was kept so far.
pub(crate) fn kept() -> String {
    String::from_utf8(LOG.lock().unwrap().clone()).expect("the log is text")
}

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
