//! `dmdl audit tail`: the trail as it happens.

use super::{
    super::{Report, failure, session::Globals, text},
    columns,
    filter::Filter,
};
use crate::{
    client::AskGatewayError,
    exit::{Exit, Failure},
};
use futures::StreamExt as _;
use serde_json::Value;
use std::io::Write as _;

/// Longest event of a stream.
const EVENT_BYTES: usize = 64 * 1024;

pub(super) fn run(filter: &Filter, globals: &Globals) -> Result<Report, Failure> {
    filter.check()?;
    let session = globals.connect()?;
    let mut last = None;
    let ended = session.run(async {
        let mut stream = session.client.gateway().follow("events").await?;
        let mut messages = Messages::default();
        while let Some(bytes) = stream.next().await {
            for data in messages.take(&bytes?)? {
                let item: Value = serde_json::from_str(&data).map_err(|error| nonsense(&error))?;
                last = item.get("position").and_then(Value::as_u64).or(last);
                let wanted = item.get("event").is_some_and(|event| filter.takes_json(event));
                if wanted && say(item, globals.json).is_err() {
                    return Ok(true);
                }
            }
        }
        Ok::<_, AskGatewayError>(false)
    });
    // A reader that has gone away, as in `dmdl … | head -1`, has seen enough.
    if ended.map_err(|error| failure::gateway(&error))? {
        return Ok(Report { text: String::new(), json: Value::Null, exit: Exit::Ok });
    }
    let after = last.map_or_else(String::new, |position| format!(" after the event at position {position}"));
    Err(Failure::new(Exit::Unavailable, "ended", format!("the gateway has ended the stream{after}; run it again")))
}

fn say(mut item: Value, as_json: bool) -> std::io::Result<()> {
    if let Some(event) = item.get_mut("event") {
        text::stamp(event, "time");
    }
    let line = if as_json { item.to_string() } else { columns(&item).join("  ") };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn nonsense(error: &dyn std::fmt::Display) -> AskGatewayError {
    AskGatewayError::Nonsense(error.to_string())
}

/// The messages of a stream of server-sent events, as its bytes come.
///
/// # Source
/// WHATWG HTML, "Server-sent events", 9.2.6
#[derive(Debug, Default)]
struct Messages {
    /// A line that has not ended yet.
    line: Vec<u8>,
    /// The data of the message so far.
    data: String,
}

impl Messages {
    /// The data of the messages that these bytes complete.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, AskGatewayError> {
        let mut done = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            } else {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).map_err(|error| nonsense(&error))?;
                done.extend(self.end(line.strip_suffix('\r').unwrap_or(line)));
            }
            if self.line.len() + self.data.len() > EVENT_BYTES {
                return Err(nonsense(&"an event of the stream is too long"));
            }
        }
        Ok(done)
    }

    /// Takes a whole line; an empty one ends a message.
    fn end(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some(data);
        }
        if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_the_bytes_are_cut() {
        let stream =
            ": hello\n\nid: 1\nevent: audit\ndata: {\"a\":1}\n\r\ndata: two\ndata:lines\n\nid: 3\n\ndata: rest";
        let expected = ["{\"a\":1}", "two\nlines"];
        for cut in 0..stream.len() {
            let mut messages = Messages::default();
            let (first, second) = stream.as_bytes().split_at(cut);
            let found = [messages.take(first).unwrap(), messages.take(second).unwrap()].concat();
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_message_without_an_end_is_not_kept_for_ever() {
        let mut messages = Messages::default();
        let part = [b'x'; 1024];
        assert!((0..EVENT_BYTES).any(|_| messages.take(&part).is_err()));
        assert!(messages.line.len() <= EVENT_BYTES + 1);
        let mut messages = Messages::default();
        assert!((0..EVENT_BYTES).any(|_| messages.take(b"data: xxxxxxxxxxxxxxxx\n").is_err()));
    }
}
