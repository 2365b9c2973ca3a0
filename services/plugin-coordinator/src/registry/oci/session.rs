//! The requests of one look-up: they log in when they are asked to, and read no more than they must.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::document;
use super::reach::{self, Reach};
use crate::engine::{RegistryLogin, text};
use crate::registry::RegistryError;
use crate::registry::source::Source;

/// The most bytes of an answer that gives a token or says why not.
const MOST_WORDS: u64 = 64 << 10;

/// The requests for one image.
pub(super) struct Session<'a> {
    client: &'a Client,
    source: &'a Source,
    base: Url,
    reach: Reach,
    login: Option<RegistryLogin>,
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl<'a> Session<'a> {
    pub(super) const fn new(
        client: &'a Client,
        source: &'a Source,
        base: Url,
        reach: Reach,
        login: Option<RegistryLogin>,
    ) -> Self {
        Self { client, source, base, reach, login, authorization: None }
    }

    /// An answer that makes no sense.
    pub(super) fn broken(&self, what: &str) -> RegistryError {
        RegistryError::Broken { host: self.source.host.clone(), what: what.to_owned() }
    }

    /// Reads something below the repository, of at most `most` bytes.
    pub(super) async fn get(
        &mut self,
        path: &str,
        what: &'static str,
        most: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let url = self.base.join(path).map_err(|_| self.broken("a name that no address can be made of"))?;
        let mut answer = self.send(url.clone()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            self.log_in(&answer).await?;
            answer = self.send(url).await?;
        }
        match answer.status() {
            StatusCode::OK => self.body(answer, most).await?.ok_or_else(|| RegistryError::TooLarge {
                image: self.source.written.clone(),
                what: if what == "manifest" { "a manifest" } else { "a configuration" },
                limit: most,
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.not_let_in()),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound { image: self.image() }),
            _ => Err(self.refused(answer).await),
        }
    }

    fn image(&self) -> String {
        match &self.source.digest {
            Some(digest) => format!("{}@{digest}", self.source.written),
            None => format!("{}:{}", self.source.written, self.source.tag),
        }
    }

    async fn send(&self, url: Url) -> Result<Response, RegistryError> {
        let mut request = self.client.get(url).header(ACCEPT, document::ACCEPT);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.map_err(|error| self.failed(error))
    }

    /// Does what a 401 asks for.
    async fn log_in(&mut self, answer: &Response) -> Result<(), RegistryError> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenge = headers.iter().filter_map(|header| header.to_str().ok()).find_map(Challenge::parse);
        let authorization = match challenge {
            None => return Err(self.not_let_in()),
            Some(Challenge::Basic) => self.basic().ok_or_else(|| self.not_let_in())?,
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref()).await?,
        };
        let mut value =
            HeaderValue::from_str(&authorization).map_err(|_| self.broken("a token that cannot be sent"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    fn basic(&self) -> Option<String> {
        let login = self.login.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", login.username, login.password))))
    }

    /// Gets a token for reading this repository.
    async fn token(&self, realm: &str, service: Option<&str>) -> Result<String, RegistryError> {
        let mut url: Url = realm.parse().map_err(|_| self.broken("a bad address for tokens"))?;
        if !self.reach.may_lead_to(&self.base, &url) {
            return Err(self.broken("an address for tokens that is not allowed"));
        }
        url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", self.source.path));
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(url);
        if let Some(basic) = self.basic() {
            let mut value = HeaderValue::from_str(&basic).map_err(|_| self.broken("a challenge"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.not_let_in()),
            _ => return Err(self.refused(answer).await),
        }
        let body = self.body(answer, MOST_WORDS).await?.unwrap_or_default();
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| self.broken("no token where it should"))?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.broken("no token where it should"))?;
        Ok(format!("Bearer {token}"))
    }

    fn not_let_in(&self) -> RegistryError {
        let host = self.source.host.clone();
        if self.login.is_some() {
            RegistryError::LoginRefused { host }
        } else {
            RegistryError::LoginRequired { host }
        }
    }

    /// A body of at most `most` bytes; `None` when there is more.
    async fn body(&self, mut answer: Response, most: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        if answer.content_length().is_some_and(|length| length > most) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.failed(error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > most {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    async fn refused(&self, answer: Response) -> RegistryError {
        let status = answer.status().as_u16();
        let body = match self.body(answer, MOST_WORDS).await {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => return error,
        };
        let words = match serde_json::from_slice::<Errors>(&body) {
            Ok(errors) => errors
                .errors
                .iter()
                .map(|one| format!("{} {}", one.code, one.message))
                .collect::<Vec<_>>()
                .join(", "),
            Err(_) => String::new(),
        };
        let message =
            if words.trim().is_empty() { "it does not say why".to_owned() } else { text::line(&words, 300) };
        RegistryError::Refused { host: self.source.host.clone(), status, message }
    }

    fn failed(&self, error: reqwest::Error) -> RegistryError {
        if error.is_redirect() {
            return self.broken("a redirect that is not allowed");
        }
        if let Some(led) = reach::led_astray(&error) {
            return self.broken(&format!("us to {led}"));
        }
        // The address can hold what a redirect put into it.
        RegistryError::Unreachable { host: self.source.host.clone(), cause: Box::new(error.without_url()) }
    }
}
