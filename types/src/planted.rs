//! Bugs that are planted on purpose, one at a time, to see that a test catches each.
//!
//! A place where a bug can be planted says [`planted!`](crate::planted!) and the bug's name. Without the
//! feature `planted-bugs` that is the constant `false`: neither the name nor the wrong code is in the
//! program. With it, the environment variable [`VARIABLE`] names the bug that is planted.
//!
//! # Source
//! docs/assurance.md

/// Whether this build can have bugs planted: then it must not be used for anything but its tests.
pub const POSSIBLE: bool = cfg!(feature = "planted-bugs");

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("the feature `planted-bugs` is for tests, never for a release");

/// Names the bug that is planted; unset, there is none.
pub const VARIABLE: &str = "DMDL_PLANTED_BUG";

/// `planted!("name")`: whether the bug is planted here. `planted!("name" => wrong, else right)`: the
/// wrong value if it is, else the right one.
#[cfg(not(feature = "planted-bugs"))]
#[macro_export]
macro_rules! planted {
    ($bug:literal) => {
        false
    };
    ($bug:literal => $wrong:expr, else $right:expr) => {
        $right
    };
}

// What the promise above says, to the compiler.
#[cfg(not(feature = "planted-bugs"))]
const _: () = assert!(!planted!("any"));

/// `planted!("name")`: whether the bug is planted here. `planted!("name" => wrong, else right)`: the
/// wrong value if it is, else the right one.
#[cfg(feature = "planted-bugs")]
#[macro_export]
macro_rules! planted {
    ($bug:literal) => {
        $crate::planted::is($bug)
    };
    ($bug:literal => $wrong:expr, else $right:expr) => {
        if $crate::planted::is($bug) { $wrong } else { $right }
    };
}

/// Whether this is the bug that was chosen when the process began.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is(bug: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(bug)
}

/// What a contract must not read: this machine's clock, so fine that no two readings are alike.
#[cfg(feature = "planted-bugs")]
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the bug")]
pub fn clock() -> crate::id::UnixMillis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    crate::id::UnixMillis::new(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
