//! What every command starts from: where the session is, which server, how to print.

use crate::args::Global;
use crate::client::Api;
use crate::config::{ConfigFile, server_address};
use crate::error::{Error, Kind, Result};
use crate::http;
use crate::output::Format;
use crate::session::Sessions;
use crate::settings::Environment;

/// What every command starts from.
pub(crate) struct Context {
    /// The environment.
    pub(crate) environment: Environment,
    /// Servers and sessions.
    pub(crate) file: ConfigFile,
    /// Whether that file is where it is by default.
    pub(crate) default_file: bool,
    /// How to print.
    pub(crate) format: Format,
    server: Option<String>,
}

impl Context {
    /// From the command line and the environment.
    pub(crate) fn new(global: Global, environment: Environment) -> Result<Self> {
        let default = environment.default_config();
        let path = match global.config {
            Some(path) => std::path::absolute(&path).unwrap_or(path),
            None => default?,
        };
        let default_file = environment.default_config().is_ok_and(|default| default == path);
        let server = global.server.filter(|server| !server.is_empty());
        Ok(Self { environment, file: ConfigFile::new(path), default_file, format: global.output, server })
    }

    /// The server to talk to.
    pub(crate) fn server(&self) -> Result<String> {
        if let Some(server) = &self.server {
            return server_address(server);
        }
        self.file.load()?.current.ok_or_else(|| {
            Error::new(Kind::NotSignedIn, "no server is known here")
                .hint("run: hxb login SERVER, with the address of your Hexabase server")
        })
    }

    /// The authority that is remembered for `server`.
    pub(crate) fn certificate_authority(&self, server: &str) -> Result<Option<String>> {
        Ok(self.file.load()?.servers.remove(server).and_then(|server| server.certificate_authority))
    }

    /// The session at `server`, trusting `certificate_authority`.
    pub(crate) fn sessions(&self, server: String, certificate_authority: Option<&str>) -> Result<Sessions> {
        let http = http::client(&server, certificate_authority)?;
        Ok(Sessions { file: self.file.clone(), server, http })
    }

    /// The API of the server to talk to; fails at once when nobody is signed in there.
    pub(crate) fn api(&self) -> Result<Api> {
        let server = self.server()?;
        let certificate_authority = self.certificate_authority(&server)?;
        let sessions = self.sessions(server, certificate_authority.as_deref())?;
        sessions.stored()?;
        Ok(Api { sessions })
    }
}
