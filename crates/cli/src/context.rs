//! What every command starts from: where the session is, which server, how to print.

use std::path::PathBuf;

use crate::args::Global;
use crate::client::Api;
use crate::config::{ConfigFile, server_address};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::http;
use crate::output::Format;
use crate::session::Sessions;
use crate::settings::Environment;
use crate::token::ApiToken;

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
    /// The file with the token that takes the place of the session.
    pub(crate) token_file: Option<PathBuf>,
    /// The file with the authority of the server's certificate.
    pub(crate) authority_file: Option<PathBuf>,
    server: Option<String>,
}

impl Context {
    /// From the command line and the environment.
    pub(crate) fn new(global: Global, environment: Environment) -> Result<Self> {
        let (default, format) = (environment.default_config(), global.format());
        let path = match global.config {
            Some(path) => std::path::absolute(&path).unwrap_or(path),
            None => default?,
        };
        let default_file = environment.default_config().is_ok_and(|default| default == path);
        let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Ok(Self {
            environment,
            file: ConfigFile::new(path),
            default_file,
            format,
            token_file: global.token_file.map(whole),
            authority_file: global.certificate_authority.map(whole),
            server: global.server.filter(|server| !server.is_empty()),
        })
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

    /// The authority behind the certificate of `server`: given, or remembered.
    pub(crate) fn certificate_authority(&self, server: &str) -> Result<Option<String>> {
        if let Some(path) = &self.authority_file {
            let missing = || Error::new(Kind::Failure, format!("there is no file {}", path.display()));
            return Ok(Some(http::certificates_of(&files::read(path)?.ok_or_else(missing)?)?));
        }
        Ok(self.file.load()?.servers.remove(server).and_then(|server| server.certificate_authority))
    }

    /// The session at `server`, trusting `certificate_authority`.
    pub(crate) fn sessions(&self, server: String, certificate_authority: Option<&str>) -> Result<Sessions> {
        let http = http::client(&server, certificate_authority)?;
        Ok(Sessions { file: self.file.clone(), server, http, token: None })
    }

    /// The API token that takes the place of the session.
    fn token(&self) -> Result<Option<ApiToken>> {
        match &self.token_file {
            Some(path) => ApiToken::from_file(path).map(Some),
            None => Ok(self.environment.token.clone()),
        }
    }

    /// The API of the server to talk to; fails at once when nobody is signed in there and no token is given. A token is sent to
    /// no server but the one that is named: the one last signed in to may be another.
    pub(crate) fn api(&self) -> Result<Api> {
        let token = self.token()?;
        if let (Some(token), None) = (&token, &self.server) {
            return Err(Error::new(Kind::Usage, format!("{} holds a token, but no server is named", token.origin()))
                .hint("name the server that it is for, with --server URL or in HEXABASE_SERVER"));
        }
        let server = self.server()?;
        let certificate_authority = self.certificate_authority(&server)?;
        let sessions = self.sessions(server, certificate_authority.as_deref())?;
        let sessions = Sessions { token, ..sessions };
        match &sessions.token {
            Some(token) => token.secret().map(drop)?,
            None => sessions.stored().map(drop)?,
        }
        Ok(Api { sessions })
    }
}
