//! Output of the rescue system to every console at once, and to its log. A console that does not take its
//! output (a serial line without a reader) never holds up anything else.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::consoles::Console;

/// What the rescue system did, with the seconds since the kernel started.
pub const LOG: &str = "/var/log/rear/init.log";

/// Chunks of output that wait for a slow console before further ones are dropped.
const BACKLOG: usize = 4096;

/// All consoles and the log. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Screen {
    consoles: Arc<Mutex<Vec<SyncSender<Vec<u8>>>>>,
    log: Arc<Mutex<Option<File>>>,
    debug: bool,
}

impl Screen {
    /// Opens the consoles; one that cannot be opened is left out.
    pub fn new(consoles: &[Console], debug: bool) -> Self {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(LOG).ok();
        let senders = consoles.iter().filter_map(Self::console).collect();
        Self { consoles: Arc::new(Mutex::new(senders)), log: Arc::new(Mutex::new(log)), debug }
    }

    fn console(console: &Console) -> Option<SyncSender<Vec<u8>>> {
        let path = console.path();
        let mut file = open(&path).ok()?;
        let (sender, receiver) = sync_channel::<Vec<u8>>(BACKLOG);
        std::thread::Builder::new()
            .name(format!("screen {}", console.name))
            .stack_size(64 * 1024)
            .spawn(move || {
                for bytes in receiver {
                    // When a shell ends, the kernel hangs its terminal up for everybody who has it open.
                    if file.write_all(&bytes).is_err()
                        && let Ok(again) = open(&path)
                    {
                        file = again;
                        // A console that went away takes nothing; the log still has it.
                        let _ = file.write_all(&bytes);
                    }
                }
            })
            .ok()?;
        Some(sender)
    }

    /// Adds a console that appeared later.
    pub fn add(&self, console: &Console) {
        let mut consoles = self.consoles.lock().unwrap_or_else(PoisonError::into_inner);
        consoles.extend(Self::console(console));
    }

    /// Shows raw bytes on every console.
    pub fn show(&self, bytes: &[u8]) {
        let consoles = self.consoles.lock().unwrap_or_else(PoisonError::into_inner);
        for console in consoles.iter() {
            let _ = console.try_send(bytes.to_vec());
        }
    }

    /// A line for people: on every console and in the log.
    pub fn say(&self, line: &str) {
        self.record(line);
        self.show(format!("{line}\n").as_bytes());
    }

    /// A line for the log only; on the consoles too when debugging.
    pub fn note(&self, line: &str) {
        self.record(line);
        if self.debug {
            self.show(format!("[{:>8.3}] {line}\n", uptime()).as_bytes());
        }
    }

    fn record(&self, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = log.as_mut() {
            // A full memory must not stop the rescue system from working.
            let _ = writeln!(file, "[{:>8.3}] {line}", uptime());
        }
    }
}

/// Opens a terminal for output without making it the controlling one.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

/// Seconds since the kernel started.
fn uptime() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    std::time::Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}
