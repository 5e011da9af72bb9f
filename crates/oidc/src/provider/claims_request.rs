//! The `claims` parameter (OpenID Connect Core 1.0 section 5.5).

use serde_json::{Map, Value};

use super::{OAuthError, OAuthErrorCode};

/// Single claims that a client asks for. Whether it gets them is up to the caller: a claim that is not there is left out,
/// essential or not, and languages are not told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimsRequest {
    /// For userinfo.
    pub userinfo: Vec<String>,
    /// For the ID token.
    pub id_token: Vec<String>,
    /// The one person whose ID token it may be, or none (section 5.5.1, `value` of `sub`).
    pub subject: Option<String>,
}

/// More names than any honest client asks for.
const MOST: usize = 50;

impl ClaimsRequest {
    /// Reads the parameter; anything but an object of objects is `invalid_request`.
    pub fn parse(json: &str) -> Result<Self, OAuthError> {
        let invalid =
            || OAuthError::new(OAuthErrorCode::InvalidRequest, "claims must be a JSON object of claims requests");
        let mut members: Map<String, Value> = serde_json::from_str(json).map_err(|_| invalid())?;
        let mut take = |name: &str| match members.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(requests)) => Ok(requests),
            Some(_) => Err(invalid()),
        };
        let (userinfo, id_token) = (take("userinfo")?, take("id_token")?);
        let mut subject = None;
        for (name, request) in userinfo.iter().chain(&id_token) {
            let value = match request {
                Value::Null => None,
                Value::Object(request) => request.get("value"),
                _ => return Err(invalid()),
            };
            if let (true, Some(value)) = (name == "sub", value) {
                let value = value.as_str().ok_or_else(invalid)?.to_owned();
                if subject.replace(value.clone()).is_some_and(|other| other != value) {
                    return Err(invalid());
                }
            }
        }
        if userinfo.len() + id_token.len() > MOST {
            return Err(invalid());
        }
        let names = |members: Map<String, Value>| members.into_iter().map(|(name, _)| name).collect();
        Ok(Self { userinfo: names(userinfo), id_token: names(id_token), subject })
    }
}
