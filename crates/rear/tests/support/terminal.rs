//! A program on a terminal, by the program `script`.

#![allow(dead_code, reason = "it serves several test programs")]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A program on a terminal.
pub struct Terminal {
    child: Child,
    pub said: String,
}

impl Terminal {
    /// Runs a command of the shell.
    pub fn new(command: &str) -> Self {
        let child = Command::new("script")
            .args(["-qec", command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, said: String::new() }
    }

    /// Waits for the text, and types a line.
    pub fn answer(&mut self, wait: &str, line: &str) {
        let mut byte = [0];
        let from = self.said.len();
        while !self.said[from..].contains(wait) {
            let count = self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert!(count > 0, "ended before '{wait}': {}", self.said);
            self.said.push(char::from(byte[0]));
        }
        self.child.stdin.as_mut().unwrap().write_all(format!("{line}\r").as_bytes()).unwrap();
    }

    /// Exit code and all that was shown.
    pub fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.child.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        self.said.push_str(&String::from_utf8_lossy(&rest));
        (self.child.wait().unwrap().code().unwrap_or(-1), self.said.clone())
    }
}
