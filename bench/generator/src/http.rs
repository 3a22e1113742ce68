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

/// POSTs an offer and returns the answer. Fails with the status and body of anything but 201.
pub fn post_offer(url: &str, token: &str, offer: &str) -> Result<String> {
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
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/sdp\r\n{bearer}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{offer}",
        offer.len()
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    if head.split(' ').nth(1) != Some("201") {
        return Err(Error::other(format!(
            "{url}: {} {body}",
            head.lines().next().unwrap_or("no status")
        )));
    }
    Ok(body.to_owned())
}
