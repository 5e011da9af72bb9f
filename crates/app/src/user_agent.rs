//! What a person recognises a device by: words made of the `User-Agent` header, which says too much and nothing plainly.

/// Marks of browsers. Those that also claim to be another one come before it.
const BROWSERS: [(&str, &str); 10] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Firefox/", "Firefox"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Marks of systems, by the same rule.
const SYSTEMS: [(&str, &str); 9] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("windows", "Windows"),
    ("Mac", "macOS"),
    ("mac", "macOS"),
    ("inux", "Linux"),
];

/// The browser or program and its system, such as "Firefox on Linux" or "hxb 0.1.0 on macOS". A text that is no `User-Agent`
/// stays as it is.
pub(crate) fn in_words(agent: &str) -> String {
    let known =
        |table: &[(&str, &'static str)]| table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, word)| *word);
    let first = agent.split([' ', ';', '(']).next().unwrap_or_default();
    let program = match (first.split_once('/'), known(&BROWSERS)) {
        (Some(("Mozilla", _)), Some(browser)) => browser.to_owned(),
        (Some(("Mozilla", _)), None) => "a browser".to_owned(),
        (Some((name, version)), _) => format!("{name} {version}"),
        (None, _) => return agent.to_owned(),
    };
    match known(&SYSTEMS) {
        Some(system) => format!("{program} on {system}"),
        None => program,
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn people_read_which_browser_it_is_and_on_what() {
        let known = [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36 Edg/141.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 16; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("Mozilla/5.0 (compatible)", "a browser"),
        ];
        for (agent, words) in known {
            assert_eq!(in_words(agent), words);
        }
    }

    #[test]
    fn programs_are_known_by_their_name_and_version() {
        assert_eq!(in_words("hxb/0.1.0 (linux; x86_64)"), "hxb 0.1.0 on Linux");
        assert_eq!(in_words("hxb/0.1.0 (macos; aarch64)"), "hxb 0.1.0 on macOS");
        assert_eq!(in_words("Go-http-client/1.1"), "Go-http-client 1.1");
        for plain in ["a program", "hxb, confirmed by code", "", "/"] {
            assert_eq!(in_words(plain).trim(), plain.trim_matches('/'), "{plain:?}");
        }
    }
}
