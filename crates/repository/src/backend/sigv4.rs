//! Signatures of requests to object stores: AWS Signature Version 4 with the header `authorization`. Pure: the time is given.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use sys::Secret;

/// Who signs, and when.
pub struct Signer<'a> {
    pub key_id: &'a str,
    pub secret_key: &'a Secret,
    pub region: &'a str,
    /// `20130524T000000Z`.
    pub time: &'a str,
}

/// What is signed.
pub struct Signed<'a> {
    pub method: &'a str,
    /// As it is sent: percent-encoded, from `/` on.
    pub path: &'a str,
    /// Not encoded yet.
    pub query: &'a [(&'a str, &'a str)],
    /// Names in lower case, with `host`; without the ones that the signature itself adds.
    pub headers: &'a [(&'static str, String)],
    pub body: &'a [u8],
}

impl Signer<'_> {
    /// The headers to be sent beside those that are signed.
    pub fn headers(&self, signed: &Signed<'_>) -> Vec<(&'static str, String)> {
        let hash = hex(&Sha256::digest(signed.body));
        let mut headers = signed.headers.to_vec();
        headers.push(("x-amz-content-sha256", hash.clone()));
        headers.push(("x-amz-date", self.time.to_owned()));
        headers.sort();
        let mut request = format!("{}\n{}\n{}\n", signed.method, signed.path, query(signed.query));
        for (name, value) in &headers {
            _ = writeln!(request, "{name}:{}", value.trim());
        }
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        _ = write!(request, "\n{names}\n{hash}");

        let day = self.time.get(..8).unwrap_or(self.time);
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text =
            format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.time, hex(&Sha256::digest(request.as_bytes())));
        let mut key = [b"AWS4", self.secret_key.expose_bytes()].concat();
        for part in [day, self.region, "s3", "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex(&mac(&key, text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            self.key_id
        );
        vec![
            ("authorization", authorization),
            ("x-amz-content-sha256", hash),
            ("x-amz-date", self.time.to_owned()),
        ]
    }
}

/// The query in the one form that is signed and sent.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| (encode(name, false), encode(value, false))).collect();
    encoded.sort();
    encoded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encoding as the signature wants it; a path keeps its slashes.
pub fn encode(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if path => out.push('/'),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // Any length of a key is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Amazon's own description of the signature.
    #[test]
    fn examples_of_the_specification() {
        let secret_key = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let signer = Signer {
            key_id: "AKIAIOSFODNN7EXAMPLE",
            secret_key: &secret_key,
            region: "us-east-1",
            time: "20130524T000000Z",
        };
        let put = encode("/test$file.text", true);
        let host = ("host", "examplebucket.s3.amazonaws.com".to_owned());
        let signature = |method, path, query: &[(&str, &str)], more: &[(&'static str, &str)], body: &str| {
            let mut headers = vec![host.clone()];
            headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            let signed = Signed { method, path, query, headers: &headers, body: body.as_bytes() };
            let headers = signer.headers(&signed);
            headers[0].1.rsplit_once('=').unwrap().1.to_owned()
        };
        assert_eq!(
            signature("GET", "/test.txt", &[], &[("range", "bytes=0-9")], ""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature(
                "PUT",
                put.as_str(),
                &[],
                &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
                "Welcome to Amazon S3."
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", &[("lifecycle", "")], &[], ""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], ""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn encoding() {
        assert_eq!(encode("a/b c+é~", true), "a/b%20c%2B%C3%A9~");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }
}
