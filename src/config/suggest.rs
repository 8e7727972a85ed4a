//! Guesses at what was meant by a word that nobody knows.

/// The candidate that is closest to a word, where one is close enough to be a slip of the hand or of the style
/// (`publicUrl` or `public-url` for `public_url`).
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalized(word);
    // One slip in three characters, and a swap counts as one.
    let most = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &normalized(candidate)), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A word in lower case without the marks that differ between naming styles, cut to a length that is cheap to compare.
fn normalized(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).take(64).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_styles_are_recognised() {
        let keys = ["listeners", "public_url", "backends", "admin", "log"];
        assert_eq!(closest("listners", keys), Some("listeners"));
        assert_eq!(closest("publicUrl", keys), Some("public_url"));
        assert_eq!(closest("public-url", keys), Some("public_url"));
        assert_eq!(closest("backedns", keys), Some("backends"));
        assert_eq!(closest("lgo", keys), Some("log"));
        assert_eq!(closest("policies", keys), None);
        assert_eq!(closest("", keys), None);
    }

    #[test]
    fn the_closest_of_several_wins() {
        assert_eq!(closest("demo2", ["demo", "demo1", "demo-2"]), Some("demo-2"));
    }
}
