//! The settings of a platform for tests.

use std::path::Path;

use anyhow::Result;
use hexabase_server::config::Config;
use url::Url;

pub(super) fn address(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// A change of settings that waits for nothing.
pub(super) fn at_once(change: impl FnOnce(&mut Config)) -> impl AsyncFnOnce(&mut Config) -> Result<()> {
    async move |config: &mut Config| {
        change(config);
        Ok(())
    }
}

pub(super) fn config(folder: &Path) -> Result<Config> {
    let mut config = Config::load(None)?;
    config.data_dir = folder.to_owned();
    config.server.listen = "127.0.0.1:0".parse()?;
    config.server.public_url = Url::parse("https://localhost:0")?;
    config.server.cluster_listen = Some("127.0.0.1:0".parse()?);
    config.server.cluster_url = Some(Url::parse("https://127.0.0.1:0")?);
    config.sign_in.development.listen = Some("127.0.0.1:0".parse()?);
    Ok(config)
}
