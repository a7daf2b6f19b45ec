//! The control channel of QEMU (QMP, line by line JSON), on its standard input and output.
//!
//! It only listens for power events and asks for the end: nothing of the guest is steered by it.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

/// Why a machine's power went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// It asked for a restart.
    Reset,
    /// It switched itself off.
    Off,
    /// Its kernel died, or the firmware gave up.
    Panic,
    /// It was stopped in the middle of a write: the host has no space left for its disks.
    HostFull,
}

/// A connection to one QEMU.
pub(crate) struct Qmp {
    input: ChildStdin,
    events: Receiver<Power>,
}

impl Qmp {
    /// Greets QEMU, so that it sends events.
    pub(crate) fn new(input: ChildStdin, output: ChildStdout) -> Self {
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(power) = event(&line)
                    && sender.send(power).is_err()
                {
                    return;
                }
            }
        });
        let mut qmp = Self { input, events };
        qmp.say(json!({ "execute": "qmp_capabilities" }));
        qmp
    }

    /// Sends a command. A QEMU that is gone does not answer: its exit tells.
    fn say(&mut self, command: Value) {
        let _ = writeln!(self.input, "{command}").and_then(|()| self.input.flush());
    }

    /// Asks QEMU to end, closing its disk images in order.
    pub(crate) fn quit(&mut self) {
        self.say(json!({ "execute": "quit" }));
    }

    /// Has the picture of the screen written to a file (PPM).
    pub(crate) fn picture(&mut self, file: &str) {
        self.say(json!({ "execute": "screendump", "arguments": { "filename": file } }));
    }

    /// Has a machine go on that was stopped. The write that stopped it is made again.
    pub(crate) fn go_on(&mut self) {
        self.say(json!({ "execute": "cont" }));
    }

    /// The power events that came since the last question.
    pub(crate) fn events(&self) -> impl Iterator<Item = Power> {
        self.events.try_iter()
    }
}

fn event(line: &str) -> Option<Power> {
    let message: Value = serde_json::from_str(line).ok()?;
    match message["event"].as_str()? {
        "GUEST_PANICKED" => Some(Power::Panic),
        "BLOCK_IO_ERROR" if message["data"]["nospace"] == true => Some(Power::HostFull),
        "RESET" if message["data"]["guest"] == true => Some(Power::Reset),
        "SHUTDOWN" => Some(match message["data"]["reason"].as_str() {
            Some("guest-reset") => Power::Reset,
            Some("guest-panic") => Power::Panic,
            _ => Power::Off,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_not_a_shutdown() {
        let reset = r#"{"timestamp":{},"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-reset"}}"#;
        let off = r#"{"timestamp":{},"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}"#;
        assert_eq!(event(reset), Some(Power::Reset));
        assert_eq!(event(off), Some(Power::Off));
        let full = r#"{"event":"BLOCK_IO_ERROR","data":{"device":"d","operation":"write","action":"stop","nospace":true,"reason":"No space left on device"}}"#;
        assert_eq!(event(full), Some(Power::HostFull));
        assert_eq!(event(r#"{"QMP":{"version":{}}}"#), None);
        assert_eq!(event("not json"), None);
    }
}
