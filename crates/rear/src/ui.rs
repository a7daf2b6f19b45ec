//! What the user sees: one line a stage, progress on long work, questions; or JSON events for machines.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use layout::Bytes;
use serde_json::json;

use crate::failure::{Failure, Result};

/// The terminal, or whatever stands in its place.
pub struct Ui {
    json: bool,
    verbose: bool,
    interactive: bool,
    terminal: bool,
    answers: BTreeMap<String, String>,
    /// What is redrawn at the moment.
    bars: Mutex<Vec<ProgressBar>>,
}

impl Ui {
    /// `interactive` is false for `--non-interactive`.
    pub fn new(json: bool, verbose: bool, interactive: bool) -> Self {
        let terminal = std::io::stdout().is_terminal() && !json;
        let interactive = interactive && std::io::stdin().is_terminal();
        Self { json, verbose, interactive, terminal, answers: BTreeMap::new(), bars: Mutex::default() }
    }

    /// Answers given in advance, each `ID=ANSWER`.
    pub fn with_answers(mut self, answers: &[String]) -> Result<Self> {
        for answer in answers {
            let (id, text) = answer.split_once('=').ok_or_else(|| {
                Failure::new(crate::failure::Code::Usage, format!("'{answer}' is not ID=ANSWER"))
            })?;
            self.answers.insert(id.to_owned(), text.to_owned());
        }
        Ok(self)
    }

    /// Whether a person can be asked.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Whether this question can be answered, by a person or in advance.
    pub fn can_answer(&self, id: &str) -> bool {
        self.interactive || self.answers.contains_key(id)
    }

    /// Does what uses the terminal, while nothing is redrawn on it.
    fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        let bar = self.bars.lock().ok().and_then(|bars| bars.last().cloned());
        match bar {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }

    /// Text for people; nothing in JSON mode.
    pub fn say(&self, text: impl AsRef<str>) {
        tracing::info!("{}", text.as_ref());
        if !self.json {
            self.aside(|| out(text.as_ref()));
        }
    }

    /// Text for people who asked for explanations.
    pub fn explain(&self, text: impl AsRef<str>) {
        tracing::info!("{}", text.as_ref());
        if self.verbose && !self.json {
            self.aside(|| out(text.as_ref()));
        }
    }

    /// Something that does not stop the run but must be seen.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        tracing::warn!("{text}");
        if self.json {
            self.event(&json!({"event": "warning", "text": text}));
        } else {
            self.aside(|| err(&format!("warning: {}", indent(text, "         "))));
        }
    }

    /// The end of a run that failed.
    pub fn failure(&self, failure: &Failure) {
        tracing::error!("{}", failure.message);
        if self.json {
            self.event(&json!({"event": "error", "code": failure.code as i32, "text": failure.message,
                               "hint": failure.hint}));
        } else {
            self.aside(|| {
                err(&format!("error: {}", indent(&failure.message, "       ")));
                if let Some(hint) = &failure.hint {
                    err(&format!("hint:  {}", indent(hint, "       ")));
                }
            });
        }
    }

    /// A machine-readable event, printed only in JSON mode.
    pub fn event(&self, event: &serde_json::Value) {
        if self.json {
            out(&event.to_string());
        }
    }

    /// Begins a stage without a known amount of work.
    pub fn stage(&self, name: &'static str) -> Stage<'_> {
        Stage::begin(self, name, None)
    }

    /// Begins a stage that moves about `total` bytes.
    pub fn stage_of(&self, name: &'static str, total: u64) -> Stage<'_> {
        Stage::begin(self, name, Some(total))
    }

    /// The answer that was given in advance.
    pub fn answered(&self, id: &str) -> Option<&str> {
        self.answers.get(id).map(String::as_str)
    }

    /// Asks for a line. In advance answered, that is the answer; without a person to ask it is an error that
    /// names the question.
    pub fn ask(&self, id: &str, question: &str, cancel: &sys::Cancel) -> Result<String> {
        if let Some(answer) = self.answers.get(id) {
            self.say(format!("{question} {answer} (answered in advance)"));
            return Ok(answer.clone());
        }
        if !self.interactive {
            return Err(Failure::refused(format!("the question {id} needs an answer: {question}"))
                .hint(format!("answer it in advance with --answer {id}=..., or run rear on a terminal")));
        }
        let line = self.aside(|| read_answer(question, cancel))?;
        let line = line.ok_or_else(|| Failure::refused(format!("no answer to the question {id}")))?;
        Ok(line.trim().to_owned())
    }

    /// Asks for a passphrase, which is not shown. It cannot be answered in advance: arguments are seen by everybody.
    /// Blanks are part of it, only the end of the line is not.
    pub fn ask_secret(&self, id: &str, question: &str, cancel: &sys::Cancel) -> Result<sys::Secret> {
        if !self.interactive {
            return Err(Failure::refused(format!("the question {id} needs an answer: {question}"))
                .hint("run rear on a terminal: a passphrase cannot be given in advance"));
        }
        let quiet = Quiet::begin();
        let line = self.aside(|| read_answer(question, cancel));
        drop(quiet);
        let line = line?.ok_or_else(|| Failure::refused(format!("no answer to the question {id}")))?;
        Ok(sys::Secret::new(line.trim_end_matches(['\n', '\r'])))
    }
}

/// Asks, and reads a line; `None` at the end of the input.
fn read_answer(question: &str, cancel: &sys::Cancel) -> Result<Option<String>> {
    write!(std::io::stdout(), "{question} ")?;
    std::io::stdout().flush()?;
    wait_for_input(cancel)?;
    let mut line = String::new();
    let count = std::io::stdin().lock().read_line(&mut line)?;
    Ok((count > 0).then_some(line))
}

/// Switches the echo of the terminal off until it is dropped; a standard input that is none has none.
struct Quiet(Option<rustix::termios::Termios>);

impl Quiet {
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        Self(tcsetattr(&stdin, OptionalActions::Flush, &quiet).is_ok().then_some(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let now = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(std::io::stdin(), now, before);
        }
    }
}

/// Returns when a line can be read. Reading itself goes on after a signal, so the flag is looked at here.
fn wait_for_input(cancel: &sys::Cancel) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let pause = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    loop {
        cancel.check()?;
        let stdin = std::io::stdin();
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&pause)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
}

/// Why the output is not complete, if it is not.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints a line; a closed pipe (`rear dump | head`) is no reason to fail. Anything else is kept for [`printed`].
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error.to_string());
    }
}

/// An error if something that was printed did not arrive (`rear config convert FILE > NEW` on a full disk).
pub fn printed() -> Result<()> {
    LOST.get().map_or(Ok(()), |why| {
        Err(Failure::failed(format!("the output could not be written: {why}"))
            .hint("what was written of it is not complete; do not use it"))
    })
}

fn err(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Every line but the first begins with `lead`, and no line is made of blanks.
fn indent(text: &str, lead: &str) -> String {
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            out.push('\n');
            out.push_str(if line.is_empty() { "" } else { lead });
        }
        out.push_str(line);
    }
    out
}

/// A stage at work. Without [`Stage::done`] it ends as failed.
pub struct Stage<'a> {
    ui: &'a Ui,
    name: &'static str,
    started: Instant,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    bytes: AtomicU64,
    files: AtomicU64,
    last: Mutex<Instant>,
}

/// How often progress is printed where lines cannot be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

impl<'a> Stage<'a> {
    fn begin(ui: &'a Ui, name: &'static str, total: Option<u64>) -> Self {
        tracing::info!(stage = name, "begin");
        ui.event(&json!({"event": "stage", "stage": name, "total_bytes": total}));
        let bar = ui.terminal.then(|| {
            let bar = match total {
                Some(total) => ProgressBar::new(total),
                None => ProgressBar::new_spinner(),
            };
            let template = match total {
                Some(_) => "{prefix:<10} [{wide_bar}] {bytes}/{total_bytes}  {msg}  {left}",
                None => "{prefix:<10} {spinner} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                // Nothing is known of the rate before the first byte.
                let left = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                    if state.pos() > 0 {
                        let _ = write!(text, "{} left", duration(state.eta().as_secs_f64()));
                    }
                };
                bar.set_style(style.with_key("left", left).progress_chars("=> "));
            }
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(200));
            if let Ok(mut bars) = ui.bars.lock() {
                bars.push(bar.clone());
            }
            bar
        });
        let now = Instant::now();
        Self {
            ui,
            name,
            started: now,
            bar,
            total,
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            last: Mutex::new(now),
        }
    }

    /// Shows what is being done inside the stage.
    pub fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
        tracing::info!(stage = self.name, "{text}");
        if self.ui.verbose && self.bar.is_none() {
            self.ui.say(format!("{:<10} {text}", ""));
        }
    }

    /// Ends the stage with what it made.
    pub fn done(mut self, text: impl AsRef<str>) {
        let seconds = self.started.elapsed().as_secs_f64();
        // Taken away: clearing it a second time, when this value is dropped, would clear the line printed below.
        self.end();
        let text = text.as_ref();
        self.ui.say(format!("{:<10} {text}  ({})", self.name, duration(seconds)));
        self.ui.event(&json!({"event": "done", "stage": self.name, "seconds": seconds, "text": text}));
    }

    /// Takes the bar away.
    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            if let Ok(mut bars) = self.ui.bars.lock() {
                bars.retain(|bar| !bar.is_finished());
            }
        }
    }

    fn plain_progress(&self) {
        let Ok(mut last) = self.last.try_lock() else { return };
        if last.elapsed() < PLAIN_INTERVAL {
            return;
        }
        *last = Instant::now();
        let (bytes, files) = (self.bytes.load(Ordering::Relaxed), self.files.load(Ordering::Relaxed));
        let elapsed = self.started.elapsed().as_secs_f64();
        self.ui.event(&json!({"event": "progress", "stage": self.name, "bytes": bytes, "files": files,
                              "total_bytes": self.total}));
        if self.ui.json {
            return;
        }
        let mut line = format!("{:<10} {files} files, {}", self.name, Bytes(bytes));
        if let Some(total) = self.total.filter(|total| *total > 0 && bytes > 0) {
            let share = (bytes as f64 / total as f64).min(1.0);
            let left = elapsed / share - elapsed;
            line.push_str(&format!(" of {}, {:.0} %, {} left", Bytes(total), share * 100.0, duration(left)));
        }
        out(&line);
    }
}

impl backup::Progress for Stage<'_> {
    fn add(&self, bytes: u64, files: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let files = self.files.fetch_add(files, Ordering::Relaxed) + files;
        match &self.bar {
            Some(bar) => {
                bar.inc(bytes);
                bar.set_message(format!("{files} files"));
            }
            None => self.plain_progress(),
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// "0.8 s", "48 s", "3 min 07 s", "2 h 05 min".
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..100 => format!("{whole} s"),
        100..6000 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, indent};

    #[test]
    fn what_is_indented_has_no_blanks_at_line_ends() {
        assert_eq!(indent("a\n\nb\n  c", "  "), "a\n\n  b\n    c");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [(0.84, "0.8 s"), (48.2, "48 s"), (187.0, "3 min 07 s"), (7500.0, "2 h 05 min")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
