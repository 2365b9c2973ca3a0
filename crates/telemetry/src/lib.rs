//! Logs as JSON lines on standard output, and the trace context (W3C) that joins the log lines of all
//! coordinators about one request.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The header's name in W3C Trace Context, also in MQTT 5 user properties.
pub const TRACEPARENT: &str = "traceparent";

/// Why logging cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not one.
    #[error("the log filter {filter:?} is not one; use a level such as info, or target=level,…")]
    Filter {
        /// What was configured.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// It was started before.
    #[error("logging was started before in this process")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Checks a log filter such as `info` or `info,bus=debug`.
///
/// # Errors
/// The filter is not one.
pub fn check_filter(filter: &str) -> Result<(), InitError> {
    parse(filter).map(|_| ())
}

fn parse(filter: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| InitError::Filter { filter: filter.to_owned(), source })
}

/// Starts logging for the process: JSON lines on standard output, with the fields of the current span.
///
/// # Errors
/// The filter is not one, or logging was started before.
pub fn init(service: &'static str, filter: &str) -> Result<(), InitError> {
    let tracer = SdkTracerProvider::builder().build().tracer(service);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_filter(parse(filter)?);
    Registry::default().with(tracing_opentelemetry::layer().with_tracer(tracer)).with(lines).try_init()?;
    Ok(())
}

/// Makes `span` part of the caller's trace, when `traceparent` is one; else it begins a new trace. The trace's
/// id is recorded in the span's field `trace_id`, where it has one.
pub fn join(span: &Span, traceparent: Option<&str>) {
    if let Some(text) = traceparent.filter(|t| t.len() <= 64) {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), text.to_owned())]);
        // A span that is switched off by the filter takes no parent, and has no trace to join.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
    let context = span.context();
    let id = context.span().span_context().trace_id();
    span.record("trace_id", tracing::field::display(id));
}

/// The trace context to send on from `span`; none where there is no trace.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// The chain of causes of an error, joined by `: `. Display of an error never repeats its source, so this is
/// how an error is logged, once, where it is dealt with.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_goes_on_and_a_broken_one_is_replaced() {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber = Registry::default().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, || {
            let id = "0af7651916cd43dd8448eb211c80319c";
            let span = tracing::info_span!("handler", trace_id = tracing::field::Empty);
            join(&span, Some(&format!("00-{id}-b7ad6b7169203331-01")));
            let sent = traceparent(&span).expect("a trace");
            assert!(sent.contains(id) && !sent.contains("b7ad6b7169203331"), "{sent}");

            let span = tracing::info_span!("handler", trace_id = tracing::field::Empty);
            join(&span, Some("rubbish\n"));
            assert!(traceparent(&span).is_some_and(|t| !t.contains(id)));
        });
    }

    #[test]
    fn a_log_filter_that_is_none_is_told() {
        assert!(check_filter("info,bus=debug").is_ok());
        assert!(check_filter("loud=!").is_err());
    }
}
