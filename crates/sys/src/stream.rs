//! Programs whose input or output is too large for memory: what they print, or read, passes by piece by piece. The same rules as for
//! every program: an argument list, a limit, stopped when the flag is raised, its last words in the error.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::real::Drain;
use crate::{Cmd, Error, Real, Result};

/// Bytes that pass at once.
const PIECE: usize = 1 << 20;

impl Real {
    /// Runs a program and gives each piece that it prints to `take`.
    ///
    /// # Errors
    /// The program's own, as of [`crate::Sys::run`], or what `take` says: the program is stopped then.
    pub fn run_into(
        &self,
        cmd: &Cmd,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()> + Send,
    ) -> Result<()> {
        self.cancel.check()?;
        let mut child = self.command(cmd)?.spawn().map_err(Error::io("start", cmd.program.clone()))?;
        let stderr = Drain::start(child.stderr.take());
        let Some(mut pipe) = child.stdout.take() else {
            return Err(Error::Answer { what: cmd.line(), detail: "it has no standard output".into() });
        };
        std::thread::scope(|scope| {
            let broken = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&broken);
            let reader = scope.spawn(move || -> std::io::Result<()> {
                let mut buffer = vec![0_u8; PIECE];
                loop {
                    let got = match pipe.read(&mut buffer) {
                        Ok(0) => return Ok(()),
                        Ok(got) => got,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(error),
                    };
                    if let Err(error) = take(&buffer[..got]) {
                        // The pipe is closed: the program ends of it.
                        seen.store(true, Ordering::SeqCst);
                        return Err(error);
                    }
                }
            });
            let status = self.wait(&mut child, cmd);
            let taken = reader.join().map_err(|_| died(cmd))?;
            match taken {
                Err(error) if broken.load(Ordering::SeqCst) || status.is_ok() => {
                    Err(Error::io("take the output of", cmd.program.clone())(error))
                }
                _ => Self::judge(cmd, status?, Vec::new(), stderr.finish()).map(|_| ()),
            }
        })
    }

    /// Runs a program and gives it everything that `source` has on its standard input.
    ///
    /// # Errors
    /// The program's own, as of [`crate::Sys::run`], or what `source` says: the program is stopped then, before it could take what it
    /// has got for the whole.
    pub fn run_from(&self, cmd: &Cmd, source: &mut (dyn Read + Send)) -> Result<()> {
        self.cancel.check()?;
        let mut command = self.command(cmd)?;
        let mut child =
            command.stdin(Stdio::piped()).spawn().map_err(Error::io("start", cmd.program.clone()))?;
        let stdout = Drain::start(child.stdout.take());
        let stderr = Drain::start(child.stderr.take());
        let Some(mut pipe) = child.stdin.take() else {
            return Err(Error::Answer { what: cmd.line(), detail: "it has no standard input".into() });
        };
        let group = child.id();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || -> std::io::Result<()> {
                let mut buffer = vec![0_u8; PIECE];
                loop {
                    let got = match source.read(&mut buffer) {
                        Ok(0) => return Ok(()),
                        Ok(got) => got,
                        Err(error) => {
                            // Before the pipe is closed: an end of the input would read as the end of the whole.
                            crate::real::end_group(group);
                            return Err(error);
                        }
                    };
                    if pipe.write_all(&buffer[..got]).is_err() {
                        // It reads no more: its exit status tells why.
                        return Ok(());
                    }
                }
            });
            let status = self.wait(&mut child, cmd);
            writer
                .join()
                .map_err(|_| died(cmd))?
                .map_err(Error::io("read the input for", cmd.program.clone()))?;
            Self::judge(cmd, status?, stdout.finish(), stderr.finish()).map(|_| ())
        })
    }
}

fn died(cmd: &Cmd) -> Error {
    Error::Answer { what: cmd.line(), detail: "the thread that served it died".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_output_passes_in_pieces() {
        let (mut bytes, mut pieces) = (0, 0);
        let cmd = Cmd::new("head").args(["-c", "10000000", "/dev/zero"]);
        Real::default()
            .run_into(&cmd, |piece| {
                (bytes, pieces) = (bytes + piece.len(), pieces + 1);
                Ok(())
            })
            .unwrap();
        assert!(bytes == 10_000_000 && pieces > 1, "{bytes} bytes, {pieces} pieces");
    }

    #[test]
    fn who_takes_no_more_stops_the_program_and_is_the_error() {
        let cmd = Cmd::new("cat").arg("/dev/zero");
        let full = |_: &[u8]| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let error = Real::default().run_into(&cmd, full).unwrap_err().to_string();
        assert!(error.contains("take the output of") && error.contains("cat"), "{error}");
    }

    #[test]
    fn a_program_that_fails_is_the_error() {
        let cmd = Cmd::new("ls").arg("/nonexistent");
        let error = Real::default().run_into(&cmd, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
        let error = Real::default().run_from(&cmd, &mut &b"x"[..]).unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn an_input_arrives_and_a_broken_one_is_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sum");
        let count = "wc -c > \"$1\"";
        let cmd = Cmd::new("sh").args(["-c", count, "sh"]).arg(path.display().to_string());
        let mut input = std::io::repeat(7).take(5_000_000);
        Real::default().run_from(&cmd, &mut input).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), "5000000");

        struct Breaks(usize);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0 += 1;
                if self.0 > 3 { Err(std::io::Error::other("damaged")) } else { Ok(buffer.len()) }
            }
        }
        std::fs::remove_file(&path).unwrap();
        let late = "cat > /dev/null; echo whole > \"$1\"";
        let cmd = Cmd::new("sh").args(["-c", late, "sh"]).arg(path.display().to_string());
        let error = Real::default().run_from(&cmd, &mut Breaks(0)).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        assert!(!path.exists(), "the program took a broken input for the whole");
    }
}
