//! One HTTP request, as a WHIP or WHEP client makes it.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// `http://host:port/path` taken apart.
fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, format!("{url}: only http:// here")))?;
    let slash = rest.find('/').unwrap_or(rest.len());
    Ok((&rest[..slash], if slash == rest.len() { "/" } else { &rest[slash..] }))
}

/// A session as the server knows it.
pub struct Created {
    /// The SDP answer.
    pub answer: String,
    /// Where the session is deleted.
    pub resource: String,
}

/// POSTs an offer and returns what was created. Fails with the status and body of anything but 201.
pub fn post_offer(url: &str, token: &str, offer: &str) -> Result<Created> {
    let (head, answer) = request("POST", url, token, offer)?;
    let location = head
        .lines()
        .find_map(|line| {
            line.split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("location"))
        })
        .map(|(_, value)| value.trim())
        .ok_or_else(|| Error::other(format!("{url}: 201 without Location")))?;
    let (authority, _) = split(url)?;
    let resource = if location.starts_with("http") {
        location.to_owned()
    } else {
        format!("http://{authority}{location}")
    };
    Ok(Created { answer, resource })
}

/// Ends a session.
pub fn delete(url: &str, token: &str) -> Result<()> {
    request("DELETE", url, token, "").map(|_| ())
}

fn request(method: &str, url: &str, token: &str, body: &str) -> Result<(String, String)> {
    let (authority, path) = split(url)?;
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let bearer = if token.is_empty() {
        String::new()
    } else {
        format!("Authorization: Bearer {token}\r\n")
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/sdp\r\n{bearer}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if !status.starts_with('2') {
        return Err(Error::other(format!("{method} {url}: {status} {body}")));
    }
    Ok((head.to_owned(), body.to_owned()))
}
