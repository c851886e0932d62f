//! While there is no key, who may call is whoever can reach loopback, and that includes every page which a browser on this machine has open. Such a page is told
//! by what browsers add of themselves: the origin of a page on another site, or a name in `Host` which was made to point here (DNS rebinding).

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

/// The name of the header that says that a request comes from a page of elsewhere, if one does.
pub fn told_by(headers: &HeaderMap) -> Option<HeaderName> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(HOST).map(name);
    // Nobody else can make a name without a dot, or an address, point here.
    if host.is_some_and(|host| host.contains('.') && host.parse::<IpAddr>().is_err() && !is_here(host)) {
        return Some(HOST);
    }
    let origin = text(ORIGIN).map(|origin| name(origin.split_once("://").map_or("", |(_, rest)| rest)));
    origin.is_some_and(|origin| !is_here(origin) && Some(origin) != host).then_some(ORIGIN)
}

/// The name or address of an authority, without its port.
fn name(authority: &str) -> &str {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    // In full, a name ends with a dot.
    name.strip_suffix('.').unwrap_or(name)
}

fn is_here(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_elsewhere_are_told_by_their_names() {
        let told = |host: Option<&str>, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            host.and_then(|host| headers.insert(HOST, host.parse().unwrap()));
            origin.and_then(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            told_by(&headers)
        };
        for host in [
            None,
            Some("127.0.0.1:8080"),
            Some("[::1]:8080"),
            Some("LOCALHOST"),
            Some("a.localhost:1"),
            Some("localhost.:8080"),
            Some("medley:8080"),
        ] {
            assert_eq!(told(host, None), None, "{host:?}");
        }
        for host in
            ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example."]
        {
            assert_eq!(told(Some(host), None), Some(HOST), "{host}");
        }
        let here = Some("127.0.0.1:8080");
        for origin in ["http://127.0.0.1:8080", "http://localhost:3000", "https://[::1]"] {
            assert_eq!(told(here, Some(origin)), None, "{origin}");
        }
        for origin in
            ["http://evil.example", "null", "", "http://intranet", "http://127.0.0.1.evil.example", "http://10.0.0.1"]
        {
            assert_eq!(told(here, Some(origin)), Some(ORIGIN), "{origin}");
        }
        assert_eq!(told(Some("medley:8080"), Some("http://medley:8080")), None, "a page of its own");
    }
}
