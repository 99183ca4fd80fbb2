// SPDX-License-Identifier: Apache-2.0
//! One plain GET of the API server, with what its answer says besides the object.

use http_body_util::BodyExt;
use hyper::Request;
use hyper::header::DATE;
use kube::client::Body;

use super::Client;
use super::client::one_line;

/// What the API server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its clock, as the header `Date` has it.
    pub date: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks for a path. An answer with an error's status is an answer.
///
/// # Errors
/// No answer came, with the reason in one line.
pub async fn get(client: &Client, path: &str) -> Result<Answer, String> {
    let request = Request::get(path).body(Body::empty());
    let request = request.map_err(|e| e.to_string())?;
    let answer = client.send(request).await.map_err(|e| one_line(&e))?;
    let status = answer.status().as_u16();
    let date = answer.headers().get(DATE).and_then(|d| d.to_str().ok());
    let date = date.map(str::to_owned);
    let body = answer.into_body().collect().await;
    let body = body.map_err(|e| one_line(&e))?.to_bytes().to_vec();
    Ok(Answer { status, date, body })
}
