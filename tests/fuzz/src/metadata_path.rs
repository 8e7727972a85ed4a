//! A resource's metadata lies at its own origin and leads back to it; no path is taken for another resource's.

use lockgate_filters::authenticate::challenge::Challenges;
use lockgate_filters::authenticate::metadata::{Resource, WELL_KNOWN, resource_path};

/// Checks a URL, or the path of a request.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(path) = resource_path(text) {
        assert!(path.starts_with('/') && text.ends_with(if path == "/" { "" } else { path }));
        if let Ok(resource) = Resource::parse(&format!("https://gw.example{path}")) {
            assert_eq!(resource.metadata_path(), text, "another resource's");
        }
    }
    let Ok(resource) = Resource::parse(text) else { return };
    assert_eq!(format!("{}{}", resource.origin, resource.rest), text);
    assert!(!resource.origin.contains('@') && !text.contains('#'));
    let (path, url) = (resource.metadata_path(), resource.metadata_url());
    assert_eq!(url, format!("{}{path}", resource.origin), "at another origin");
    assert!(path.starts_with(WELL_KNOWN));
    if !resource.rest.contains('?') {
        let whole = if resource.rest.is_empty() { "/" } else { resource.rest };
        assert_eq!(resource_path(&path), Some(whole), "leads to another resource");
    }
    assert_eq!(Resource::parse(&url).map(|metadata| metadata.origin), Ok(resource.origin));
    let challenge = Challenges::new(&url, ["x"]);
    assert_eq!(**challenge.missing(), format!(r#"Bearer resource_metadata="{url}", scope="x""#));
}
