//! A value that changes, and who waits for it to.

use std::sync::{Mutex, PoisonError};
use tokio::sync::{Notify, futures::Notified};

/// The latest of a value that changes.
///
/// Who waits for a change is woken in the order in which they began to wait, so that a simulated run
/// can be told again; tokio's own `watch` wakes its receivers in a random order.
#[derive(Debug, Default)]
pub struct Latest<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone> Latest<T> {
    /// A value to begin with.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    /// The value as it is.
    #[must_use]
    pub fn get(&self) -> T {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the value and wakes whoever waits.
    pub fn set(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = value;
        self.changed.notify_waiters();
    }

    /// Waits for the next change after this call, polled or not: call it before looking at the value,
    /// and no change is slept over.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
