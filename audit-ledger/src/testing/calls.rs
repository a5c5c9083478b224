//! The system calls that a test makes.

/// The system calls of these kinds that another test makes in a process of its own, one after the other, with the names
/// of their files; nothing where nobody can follow them.
///
/// Without `strace` the test that asks says so and does without; in CI it fails.
pub(crate) fn calls_of(test: &str, kinds: &str) -> Option<Vec<String>> {
    let (program, trace) = (std::env::current_exe().unwrap(), std::env::temp_dir());
    let trace = trace.join(format!("dmdl-calls-{}-{}", std::process::id(), test.replace(':', "_")));
    let followed = std::process::Command::new("strace")
        .args(["-f", "-y", "-qq", "-s", "256", "-e", &format!("trace={kinds}"), "-o"])
        .arg(&trace)
        .arg(program)
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .output();
    let Ok(followed) = followed else {
        assert!(std::env::var_os("CI").is_none(), "`strace` is missing: `scripts/setup.sh test` installs it");
        eprintln!("\n*** SKIPPED: `strace` is missing; the order of writing and telling is NOT tested ***\n");
        return None;
    };
    assert!(followed.status.success(), "{}", String::from_utf8_lossy(&followed.stderr));
    let calls = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(&trace).unwrap();
    assert!(calls.contains('('), "the calls of `{test}` were followed");
    Some(whole(&calls))
}

/// Calls in the order in which they ended: one that others came in between is written down in two pieces.
fn whole(trace: &str) -> Vec<String> {
    let mut begun = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        // The numbers of threads are padded.
        let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
        let call = call.trim_start();
        if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, head);
        } else if let Some(tail) = call.strip_prefix("<... ") {
            let rest = tail.split_once('>').map_or("", |(_, rest)| rest);
            calls.push(format!("{}{rest}", begun.remove(thread).unwrap_or_default()));
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}
