//! What the environment says. No other file reads it (clap reads those variables by the same rule that stand for an option).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::token::ApiToken;

/// Holds an API token. There is no such option: an option's value is seen by everybody on the machine.
const TOKEN: &str = "HXB_TOKEN";

/// The part of the environment that matters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// The user's home folder.
    pub(crate) home: Option<PathBuf>,
    /// Where configuration goes, when not below home.
    pub(crate) config_home: Option<PathBuf>,
    /// The list of kubeconfig files.
    pub(crate) kubeconfig: Option<OsString>,
    /// Where programs are looked for.
    pub(crate) path: Option<OsString>,
    /// Whether a browser can be opened.
    pub(crate) can_open_browser: bool,
    /// An API token to be used in place of a session.
    pub(crate) token: Option<ApiToken>,
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        let graphical = ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"].iter().any(|name| variable(name).is_some());
        Self {
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            config_home: variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()),
            kubeconfig: variable("KUBECONFIG"),
            path: variable("PATH"),
            can_open_browser: cfg!(any(target_os = "macos", windows)) || graphical,
            token: variable(TOKEN).map(|text| ApiToken::new(&text.to_string_lossy(), TOKEN)),
        }
    }

    /// Where `hxb` keeps its servers and sessions unless told otherwise.
    pub(crate) fn default_config(&self) -> Result<PathBuf> {
        let base = self.config_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")));
        base.map(|base| base.join("hexabase").join("hxb.json"))
            .ok_or_else(|| Error::new(Kind::Failure, "there is no home folder").hint("give --config FILE"))
    }

    /// The kubeconfig file to change, and whether kubectl reads no other.
    pub(crate) fn kubeconfig(&self) -> Result<(PathBuf, bool)> {
        if let Some(list) = &self.kubeconfig {
            let mut files = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
            if let Some(first) = files.next() {
                return Ok((first, files.next().is_none()));
            }
        }
        let home = self
            .home
            .as_ref()
            .ok_or_else(|| Error::new(Kind::Failure, "there is no home folder").hint("give --file PATH"))?;
        Ok((home.join(".kube").join("config"), true))
    }

    /// How kubectl can start this program: by name if that finds it, else by its full path.
    pub(crate) fn command_name(&self, program: &Path) -> String {
        let found = self.path.as_ref().is_some_and(|list| {
            let first = std::env::split_paths(list).map(|folder| folder.join("hxb")).find(|file| file.is_file());
            first
                .and_then(|file| file.canonicalize().ok())
                .is_some_and(|file| Some(file) == program.canonicalize().ok())
        });
        if found { "hxb".to_owned() } else { program.display().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_kubeconfig_of_the_list_is_the_one_to_change() {
        let home = Some(PathBuf::from("/home/a"));
        let of =
            |list: &str| Environment { home: home.clone(), kubeconfig: Some(list.into()), ..Environment::default() };
        assert_eq!(of(":/a/one:/b/two").kubeconfig().unwrap(), (PathBuf::from("/a/one"), false));
        assert_eq!(of("/a/one").kubeconfig().unwrap(), (PathBuf::from("/a/one"), true));
        let none = Environment { home, ..Environment::default() };
        assert_eq!(none.kubeconfig().unwrap(), (PathBuf::from("/home/a/.kube/config"), true));
    }

    #[test]
    fn the_config_goes_where_the_desktop_wants_it() {
        let mut environment = Environment { home: Some("/home/a".into()), ..Environment::default() };
        assert_eq!(environment.default_config().unwrap(), PathBuf::from("/home/a/.config/hexabase/hxb.json"));
        environment.config_home = Some("/x".into());
        assert_eq!(environment.default_config().unwrap(), PathBuf::from("/x/hexabase/hxb.json"));
    }
}
