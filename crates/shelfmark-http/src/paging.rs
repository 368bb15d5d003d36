//! The answer of a list, with absolute links.

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use shelfmark::{Cursor, JsonText, Page};

use crate::app::App;

/// Scheme and authority of the links in answers to this request.
pub(crate) fn base(app: &App, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(url) = &app.config.public_url {
        return url.clone();
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(Authority::as_str))
        // Nothing but a host and a port may come into a link.
        .and_then(|host| host.parse::<Authority>().ok())
        .filter(|authority| !authority.as_str().contains('@'));
    match host {
        Some(host) => format!("http://{host}"),
        None => "http://localhost".to_owned(),
    }
}

#[derive(Debug, Serialize)]
struct Link {
    href: String,
}

#[derive(Debug, Serialize)]
struct Links {
    first: Option<Link>,
    prev: Option<Link>,
    #[serde(rename = "self")]
    this: Option<Link>,
    next: Option<Link>,
    last: Option<Link>,
}

/// Where a page is, and where to go from it: what stands behind the data in the answer of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Place {
    page: u64,
    limit: usize,
    links: Links,
    pages: u64,
    total: u64,
}

impl Place {
    /// That of a page, where `base` and `uri` are those of the request.
    pub(crate) fn of<T>(page: &Page<T>, base: &str, uri: &Uri) -> Self {
        let pages = page.pages().unwrap_or_default();
        let query = uri.query().unwrap_or_default();
        let path = format!("{base}{}", uri.path());
        let with = |name: &str, value: &str| Link {
            href: leading(&path, query, name, value),
        };
        let at = |cursor: &Cursor| with("cursor", &cursor.to_string());
        let links = Links {
            first: Some(with("page", "0")),
            prev: page.prev.as_ref().map(at),
            this: Some(Link {
                href: match query {
                    "" => path.clone(),
                    query => format!("{path}?{query}"),
                },
            }),
            next: page.next.as_ref().map(at),
            last: Some(with("page", &pages.saturating_sub(1).to_string())),
        };
        Self {
            page: page.page,
            limit: page.limit,
            links,
            pages,
            total: page.total.unwrap_or_default(),
        }
    }

    /// Ends the object that was begun with the data.
    pub(crate) fn end(&self, text: &mut JsonText) -> shelfmark::Result<()> {
        text.end_object(self)
    }
}

/// The same list at another place: the other parameters as they were sent, and `name=value` instead of a page and a cursor.
fn leading(path: &str, query: &str, name: &str, value: &str) -> String {
    let mut href = format!("{path}?");
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let named = |wanted| {
            form_urlencoded::parse(parameter.as_bytes())
                .next()
                .is_some_and(|(name, _)| name == wanted)
        };
        if !named("page") && !named("cursor") {
            href.push_str(parameter);
            href.push('&');
        }
    }
    href.push_str(name);
    href.push('=');
    href.push_str(value);
    href
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_the_other_parameters() {
        let link = |query| leading("http://h/p", query, "cursor", "xyz");
        assert_eq!(link(""), "http://h/p?cursor=xyz");
        assert_eq!(
            link("page=3&limit=5&sort=-name"),
            "http://h/p?limit=5&sort=-name&cursor=xyz"
        );
        assert_eq!(link("curs%6Fr=abc&&limit=5"), "http://h/p?limit=5&cursor=xyz");
    }
}
