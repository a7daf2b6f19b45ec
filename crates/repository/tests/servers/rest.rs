//! A server like `rest-server`: a repository's directory by the REST protocol.

use std::path::PathBuf;

use base64::Engine;

use super::{Reply, Request, Service};

/// The directory, and whom it is for.
pub struct Directory {
    pub top: PathBuf,
    /// `USER:PASSWORD`.
    pub user: Option<String>,
    pub append_only: bool,
    /// Of the protocol.
    pub version: u32,
}

impl Directory {
    pub fn new(top: impl Into<PathBuf>) -> Self {
        Self { top: top.into(), user: None, append_only: false, version: 2 }
    }

    fn file(&self, path: &str) -> PathBuf {
        match path.split_once('/') {
            Some(("data", name)) => self.top.join("data").join(&name[..2.min(name.len())]).join(name),
            _ => self.top.join(path),
        }
    }

    fn list(&self, kind: &str) -> Reply {
        let mut files = Vec::new();
        let mut pending = vec![self.top.join(kind)];
        while let Some(dir) = pending.pop() {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            for entry in entries.map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => pending.push(entry.path()),
                    false => files
                        .push((entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())),
                }
            }
        }
        let lines: Vec<String> = match self.version {
            1 => files.iter().map(|(name, _)| format!("\"{name}\"")).collect(),
            _ => {
                files.iter().map(|(name, size)| format!("{{\"name\":\"{name}\",\"size\":{size}}}")).collect()
            }
        };
        Reply::of(200, format!("[{}]", lines.join(",")))
            .with("content-type", format!("application/vnd.x.restic.rest.v{}", self.version))
    }
}

impl Service for Directory {
    fn answer(&self, request: &Request) -> Reply {
        if let Some(user) = &self.user {
            let wanted = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user));
            if request.header("authorization") != Some(&wanted) {
                return Reply::of(401, "Unauthorized").with("www-authenticate", "Basic");
            }
        }
        let path = request.path.trim_start_matches('/');
        match request.method.as_str() {
            "POST" if path.is_empty() && request.query == "create=true" => {
                for kind in ["data", "index", "keys", "locks", "snapshots"] {
                    std::fs::create_dir_all(self.top.join(kind)).unwrap();
                }
                Reply::of(200, "")
            }
            "GET" if path.ends_with('/') => self.list(path.trim_end_matches('/')),
            "GET" | "HEAD" => match std::fs::read(self.file(path)) {
                Ok(bytes) => Reply::file(request, bytes),
                Err(_) => Reply::of(404, "Not Found"),
            },
            "POST" => {
                let file = self.file(path);
                if file.exists() {
                    return Reply::of(403, "Forbidden");
                }
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, &request.body).unwrap();
                Reply::of(200, "")
            }
            "DELETE" if self.append_only && !path.starts_with("locks/") => Reply::of(403, "Forbidden"),
            "DELETE" => match std::fs::remove_file(self.file(path)) {
                Ok(()) => Reply::of(200, ""),
                Err(_) => Reply::of(404, "Not Found"),
            },
            _ => Reply::of(405, "Method Not Allowed"),
        }
    }
}
