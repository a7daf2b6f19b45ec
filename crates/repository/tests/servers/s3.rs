//! A small object store in memory, which checks the signature of every request by its own means.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Reply, Request, Service};

pub const KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The store.
pub struct Store {
    /// Objects by bucket and name.
    pub buckets: Mutex<BTreeMap<String, BTreeMap<String, Vec<u8>>>>,
    pub region: String,
    /// Objects in one list.
    pub page: usize,
    pub keeps_all: bool,
}

impl Default for Store {
    fn default() -> Self {
        Self { buckets: Mutex::default(), region: "us-east-1".into(), page: 5, keeps_all: false }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn decode(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

fn error(status: u16, code: &str, more: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>That is {code}.</Message>{more}</Error>"
    );
    Reply::of(status, text)
}

/// The pairs of a query as they were sent.
fn pairs(query: &str) -> Vec<(&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect()
}

impl Store {
    /// What is wrong with the signature.
    fn refuse(&self, request: &Request) -> Option<Reply> {
        let denied = || Some(error(403, "AccessDenied", ""));
        let Some(rest) =
            request.header("authorization").and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256 "))
        else {
            return denied();
        };
        let fields: BTreeMap<&str, &str> =
            rest.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let (Some(credential), Some(names), Some(signature)) =
            (fields.get("Credential"), fields.get("SignedHeaders"), fields.get("Signature"))
        else {
            return denied();
        };
        let parts: Vec<&str> = credential.split('/').collect();
        let [id, day, region, "s3", "aws4_request"] = parts[..] else { return denied() };
        if id != KEY_ID {
            return Some(error(403, "InvalidAccessKeyId", ""));
        }
        if region != self.region && !request.query.starts_with("location") {
            let more = format!("<Region>{}</Region>", self.region);
            return Some(
                error(400, "AuthorizationHeaderMalformed", &more)
                    .with("x-amz-bucket-region", self.region.clone()),
            );
        }
        let hash = request.header("x-amz-content-sha256").unwrap_or_default();
        let is_plain = hash.len() == 64;
        if is_plain && hash != hex(&Sha256::digest(&request.body)) {
            return Some(error(400, "XAmzContentSHA256Mismatch", ""));
        }
        let mut sorted = pairs(&request.query);
        sorted.sort_unstable();
        let query =
            sorted.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let mut canonical = format!("{}\n{}\n{query}\n", request.method, request.path);
        for name in names.split(';') {
            let value = request.header(name).unwrap_or_default();
            writeln!(canonical, "{name}:{value}").unwrap();
        }
        write!(canonical, "\n{names}\n{hash}").unwrap();
        let time = request.header("x-amz-date").unwrap_or_default();
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{day}/{region}/s3/aws4_request\n{}",
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        let key = [day, region, "s3", "aws4_request"]
            .iter()
            .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| mac(&key, part));
        let sent = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).unwrap();
        let sent = jiff::tz::Offset::UTC.to_timestamp(sent).unwrap().as_second();
        if !time.starts_with(day) || sent.abs_diff(jiff::Timestamp::now().as_second()) > 900 {
            return Some(error(403, "RequestTimeTooSkewed", ""));
        }
        (hex(&mac(&key, &text)) != *signature).then(|| error(403, "SignatureDoesNotMatch", ""))
    }

    fn list(&self, objects: &BTreeMap<String, Vec<u8>>, query: &str) -> Reply {
        let values: BTreeMap<String, String> =
            pairs(query).iter().map(|(name, value)| ((*name).to_owned(), decode(value))).collect();
        let value = |name: &str| values.get(name).cloned().unwrap_or_default();
        let (prefix, delimiter, after) = (value("prefix"), value("delimiter"), value("continuation-token"));
        let mut text = String::from(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
        );
        let mut found: Vec<_> =
            objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after).collect();
        let mut directories: Vec<String> = Vec::new();
        if !delimiter.is_empty() {
            found.retain(|(key, _)| match key[prefix.len()..].split_once(&delimiter) {
                Some((name, _)) => {
                    directories.push(format!("{prefix}{name}{delimiter}"));
                    false
                }
                None => true,
            });
            directories.dedup();
        }
        let truncated = found.len() > self.page;
        found.truncate(self.page);
        for (key, bytes) in &found {
            write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;0&quot;</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                bytes.len()
            )
            .unwrap();
        }
        for directory in directories {
            write!(text, "<CommonPrefixes><Prefix>{directory}</Prefix></CommonPrefixes>").unwrap();
        }
        if truncated {
            write!(text, "<NextContinuationToken>{}</NextContinuationToken>", found.last().unwrap().0)
                .unwrap();
        }
        write!(text, "<IsTruncated>{truncated}</IsTruncated></ListBucketResult>").unwrap();
        Reply::of(200, text)
    }
}

/// The content of a body that is sent in signed pieces.
fn unwrapped(request: &Request) -> Vec<u8> {
    if !request.header("x-amz-content-sha256").unwrap_or_default().starts_with("STREAMING-") {
        return request.body.clone();
    }
    let (mut out, mut rest) = (Vec::new(), request.body.as_slice());
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let count = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        if count == 0 {
            return out;
        }
        out.extend_from_slice(&rest[end + 2..end + 2 + count]);
        rest = &rest[end + 4 + count..];
    }
}

impl Service for Store {
    fn answer(&self, request: &Request) -> Reply {
        if let Some(reply) = self.refuse(request) {
            return reply;
        }
        let path = decode(request.path.trim_start_matches('/'));
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let mut buckets = self.buckets.lock().unwrap();
        if key.is_empty() && request.method == "PUT" {
            buckets.entry(bucket.to_owned()).or_default();
            return Reply::of(200, "");
        }
        let Some(objects) = buckets.get_mut(bucket) else { return error(404, "NoSuchBucket", "") };
        let stored =
            |reply: Reply| reply.with("etag", "\"0\"").with("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
        match (request.method.as_str(), key) {
            ("GET", "") if request.query.starts_with("location") => Reply::of(
                200,
                format!(
                    "<?xml version=\"1.0\"?><LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}\
                     </LocationConstraint>",
                    self.region
                ),
            ),
            ("GET", "") => self.list(objects, &request.query),
            ("HEAD", "") => Reply::of(200, ""),
            ("GET" | "HEAD", key) => match objects.get(key) {
                Some(bytes) => stored(Reply::file(request, bytes.clone())),
                None => error(404, "NoSuchKey", ""),
            },
            ("PUT", key) => {
                objects.insert(key.to_owned(), unwrapped(request));
                stored(Reply::of(200, ""))
            }
            ("DELETE", _) if self.keeps_all => error(403, "AccessDenied", ""),
            ("DELETE", key) => {
                objects.remove(key);
                Reply::of(204, "")
            }
            _ => error(405, "MethodNotAllowed", ""),
        }
    }
}
