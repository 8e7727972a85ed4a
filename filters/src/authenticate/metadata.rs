//! What clients read to find out whom to ask for a token (RFC 9728).
//!
//! The document of a resource lies at its own URL with `/.well-known/oauth-protected-resource` inserted behind the host.
//! Whoever reads it compares `resource` with the URL that it began with, so both are made from the one public URL of the
//! configuration, and never from a request.

use super::claims::is_scope;
use serde::Serialize;

/// What is inserted.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// Scopes that are between a client and its authorization server, and no resource's (OpenID Connect Core section 11).
const OFFLINE_ACCESS: &str = "offline_access";
/// Visible characters that no URL holds (RFC 3986 section 2).
const NOT_IN_URLS: &[u8] = b"\"\\<>^`{|}";

/// Why a text is no resource identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resource is an http(s) URL with a host, without user, password and fragment")]
pub struct NoResource;

/// The URL of a resource, cut where the well-known path goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `https://host:port`.
    pub origin: &'a str,
    /// Path and query: empty, or beginning with `/` or `?`.
    pub rest: &'a str,
}

impl<'a> Resource<'a> {
    /// Cuts a URL.
    ///
    /// # Errors
    /// [`NoResource`].
    pub fn parse(url: &'a str) -> Result<Resource<'a>, NoResource> {
        let authority_at =
            ["https://", "http://"].iter().find(|scheme| url.starts_with(**scheme)).ok_or(NoResource)?.len();
        let (_, behind) = url.split_at_checked(authority_at).ok_or(NoResource)?;
        let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
        let (origin, rest) = url.split_at_checked(authority_at + end).ok_or(NoResource)?;
        let visible = url.bytes().all(|byte| byte.is_ascii_graphic() && !NOT_IN_URLS.contains(&byte));
        if end == 0 || !visible || url.contains('#') || origin.contains('@') {
            return Err(NoResource);
        }
        Ok(Resource { origin, rest })
    }

    /// The path (and query) that its metadata lies at. A slash that is the whole path is left out, any other one stays (RFC
    /// 9728 section 3.1).
    pub fn metadata_path(&self) -> String {
        let rest = match self.rest.strip_prefix('/') {
            Some(behind) if behind.is_empty() || behind.starts_with('?') => behind,
            _ => self.rest,
        };
        format!("{WELL_KNOWN}{rest}")
    }

    /// The URL that its metadata lies at.
    pub fn metadata_url(&self) -> String {
        format!("{}{}", self.origin, self.metadata_path())
    }
}

/// The path of the resource whose metadata lies at this path: `/` for the root form. `None` where it is no such path.
///
/// A resource at `/x/` has its metadata at `…/x/`; clients that cut the last slash off ask at `…/x`, which is the place of
/// `/x`. Whoever serves one of them and not the other may look for both.
pub fn resource_path(path: &str) -> Option<&str> {
    match path.strip_prefix(WELL_KNOWN)? {
        "" => Some("/"),
        // The root form with a slash is nobody's.
        "/" => None,
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// The metadata of a protected resource (RFC 9728 section 2).
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// The public URL of the virtual server, exactly as clients are configured with it.
    pub resource: &'a str,
    /// Who issues tokens for it.
    pub authorization_servers: &'a [&'a str],
    /// The scopes that may be asked for. `offline_access` is left out.
    pub scopes: &'a [&'a str],
    /// What people call it.
    pub name: Option<&'a str>,
    /// Whether tokens that are bound to client certificates are understood (RFC 8705).
    pub certificate_bound_tokens: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    authorization_servers: &'a [&'a str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_client_certificate_bound_access_tokens: bool,
}

impl Metadata<'_> {
    /// The document. It says nothing of DPoP, because tokens that are bound to a key are refused.
    pub fn to_json(&self) -> String {
        let mut scopes: Vec<&str> = Vec::new();
        for scope in self.scopes {
            if is_scope(scope) && *scope != OFFLINE_ACCESS && !scopes.contains(scope) {
                scopes.push(scope);
            }
        }
        let document = Document {
            resource: self.resource,
            authorization_servers: self.authorization_servers,
            scopes_supported: scopes,
            bearer_methods_supported: ["header"],
            resource_name: self.name,
            tls_client_certificate_bound_access_tokens: self.certificate_bound_tokens,
        };
        // Texts, lists of texts and a truth value always have a JSON form.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn url(resource: &str) -> String {
        Resource::parse(resource).unwrap().metadata_url()
    }

    #[test]
    fn the_path_is_inserted_behind_the_host() {
        for (resource, metadata) in [
            ("https://gw.example", "https://gw.example/.well-known/oauth-protected-resource"),
            ("https://gw.example/", "https://gw.example/.well-known/oauth-protected-resource"),
            ("https://gw.example/mcp", "https://gw.example/.well-known/oauth-protected-resource/mcp"),
            ("https://gw.example/mcp/", "https://gw.example/.well-known/oauth-protected-resource/mcp/"),
            ("https://gw.example:8443/x/mcp", "https://gw.example:8443/.well-known/oauth-protected-resource/x/mcp"),
            ("http://127.0.0.1:3000/mcp", "http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp"),
            ("http://[::1]:3000/mcp", "http://[::1]:3000/.well-known/oauth-protected-resource/mcp"),
            ("https://gw.example?k=v", "https://gw.example/.well-known/oauth-protected-resource?k=v"),
            ("https://gw.example/?k=v", "https://gw.example/.well-known/oauth-protected-resource?k=v"),
            ("https://gw.example/a?k=/v/", "https://gw.example/.well-known/oauth-protected-resource/a?k=/v/"),
            ("https://gw.example//", "https://gw.example/.well-known/oauth-protected-resource//"),
        ] {
            assert_eq!(url(resource), metadata, "{resource}");
        }
    }

    #[test]
    fn what_is_no_resource_has_no_metadata() {
        for wrong in [
            "",
            "gw.example/mcp",
            "ftp://gw.example",
            "https://",
            "https:///mcp",
            "https://?x",
            "https://gw.example/#x",
            "https://a@gw.example",
            "https://gw.example/a b",
            "https://gw.example/\r\nx",
            "https://gw.example/\"",
            "https://gw.example/é",
            "HTTPS://gw.example",
        ] {
            assert_eq!(Resource::parse(wrong), Err(NoResource), "{wrong}");
        }
    }

    #[test]
    fn a_path_leads_back_to_its_resource() {
        for (path, resource) in [
            ("/.well-known/oauth-protected-resource", Some("/")),
            ("/.well-known/oauth-protected-resource/mcp", Some("/mcp")),
            ("/.well-known/oauth-protected-resource/x/mcp/", Some("/x/mcp/")),
            ("/.well-known/oauth-protected-resource/", None),
            ("/.well-known/oauth-protected-resources", None),
            ("/.well-known/oauth-protected-resource-mcp", None),
            ("/.well-known/OAuth-protected-resource", None),
            ("/x/.well-known/oauth-protected-resource", None),
            ("/", None),
        ] {
            assert_eq!(resource_path(path), resource, "{path}");
        }
    }

    #[test]
    fn the_document_says_what_holds() {
        let document = |metadata: Metadata<'_>| serde_json::from_str::<serde_json::Value>(&metadata.to_json()).unwrap();
        let full = Metadata {
            resource: "https://gw.example/mcp",
            authorization_servers: &["https://login.example/a", "https://b.example"],
            scopes: &["mcp:use", "offline_access", "github:read", "mcp:use", "no scope"],
            name: Some("The \"gateway\""),
            certificate_bound_tokens: true,
        };
        assert_eq!(
            document(full),
            json!({
                "resource": "https://gw.example/mcp",
                "authorization_servers": ["https://login.example/a", "https://b.example"],
                "scopes_supported": ["mcp:use", "github:read"],
                "bearer_methods_supported": ["header"],
                "resource_name": "The \"gateway\"",
                "tls_client_certificate_bound_access_tokens": true,
            })
        );
        let least = Metadata {
            authorization_servers: &[],
            scopes: &["offline_access"],
            name: None,
            certificate_bound_tokens: false,
            ..full
        };
        assert_eq!(
            document(least),
            json!({"resource": "https://gw.example/mcp", "bearer_methods_supported": ["header"]})
        );
    }

    proptest! {
        #[test]
        fn every_metadata_path_leads_back(path in "(/[a-z.~%0-9-]{0,6}){0,4}") {
            let resource = format!("https://gw.example{path}");
            let metadata = Resource::parse(&resource).unwrap().metadata_path();
            let expected = if path.is_empty() { "/" } else { &*path };
            prop_assert_eq!(resource_path(&metadata), Some(expected));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = resource_path(&text);
            if let Ok(resource) = Resource::parse(&text) {
                prop_assert_eq!(format!("{}{}", resource.origin, resource.rest), text);
            }
        }
    }
}
