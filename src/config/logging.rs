// SPDX-License-Identifier: Apache-2.0
//! The section `logging` (Kubernetes: component-base `logs/api/v1`).

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::file::is_false;
use crate::cli::{Cli, Period, Quantity, parse_period};

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Logging {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) format: String,
    pub(super) flush_frequency: Flush,
    pub(super) verbosity: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vmodule: Vec<Module>,
    pub(super) options: Options,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Module {
    pub(super) file_pattern: String,
    pub(super) verbosity: u32,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Options {
    pub(super) text: Routing,
    pub(super) json: Routing,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Routing {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) split_stream: bool,
    pub(super) info_buffer_size: Quantity,
}

/// A period as text, or as a number of nanoseconds, and written as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Flush {
    pub(super) period: Period,
    pub(super) as_text: bool,
}

impl<'de> Deserialize<'de> for Flush {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Value::String(text) = &value {
            let period = parse_period(text).map_err(D::Error::custom)?;
            let as_text = true;
            return Ok(Self { period, as_text });
        }
        let nanoseconds = value.as_i64().ok_or_else(|| {
            D::Error::custom("must be a duration as 5s, or a number of nanoseconds")
        })?;
        Ok(Self {
            period: Period(nanoseconds),
            as_text: false,
        })
    }
}

impl Serialize for Flush {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text {
            true => self.period.serialize(serializer),
            false => serializer.serialize_i64(self.period.0),
        }
    }
}

impl Logging {
    /// Upstream: `SetRecommendedLoggingConfiguration`.
    pub(super) fn set_defaults(&mut self) {
        if self.format.is_empty() {
            self.format = "text".to_owned();
        }
        if self.flush_frequency.period.0 == 0 {
            self.flush_frequency = Flush {
                period: Period::seconds(5),
                as_text: true,
            };
        }
    }

    /// Flags of the log go before the file, one by one; patterns of both hold (upstream:
    /// `copyLogsFromFlags`).
    ///
    /// # Errors
    /// `--vmodule` is malformed; what is wrong with it.
    pub(super) fn set_from_flags(&mut self, cli: &Cli) -> Result<(), String> {
        let accepted = &cli.accepted;
        set(&mut self.format, &cli.proxy.logging_format);
        set(&mut self.verbosity, &cli.proxy.verbosity);
        set(
            &mut self.flush_frequency.period,
            &accepted.log_flush_frequency,
        );
        let (text, json) = (&mut self.options.text, &mut self.options.json);
        // What a file says of it, kube-proxy's copying of flags forgets.
        text.split_stream = accepted.log_text_split_stream == Some(true);
        json.split_stream = accepted.log_json_split_stream == Some(true);
        set(
            &mut text.info_buffer_size,
            &accepted.log_text_info_buffer_size,
        );
        set(
            &mut json.info_buffer_size,
            &accepted.log_json_info_buffer_size,
        );
        let mut modules = modules(accepted.vmodule.as_deref().unwrap_or_default())?;
        modules.append(&mut self.vmodule);
        self.vmodule = modules;
        Ok(())
    }
}

pub(super) fn set<T: Clone>(place: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

/// `a=1,b=2`.
fn modules(text: &str) -> Result<Vec<Module>, String> {
    let module = |part: &str| {
        let (pattern, level) = part.split_once('=')?;
        let verbosity = level.parse::<i32>().ok()?.try_into().ok()?;
        let file_pattern = pattern.to_owned();
        (!pattern.is_empty()).then_some(Module {
            file_pattern,
            verbosity,
        })
    };
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| module(part).ok_or_else(|| format!("must be PATTERN=N,…, has {part:?}")))
        .collect()
}
