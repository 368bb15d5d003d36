//! Log lines without colours. They read as those of tracing-subscriber, whose general way of making them costs as much as answering a request.

use std::fmt::{self, Debug, Write as _};
use std::sync::Arc;

use shelfmark::{Clock, Environment};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Events: `TIME LEVEL span{name=value}: target: message name=value`
pub(crate) struct Lines {
    clock: Arc<dyn Clock>,
}

impl Default for Lines {
    fn default() -> Self {
        let Environment { clock, .. } = Environment::default();
        Self { clock }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        write!(writer, "{} ", self.clock.now())?;
        let level = metadata.level().as_str();
        // Right-aligned to the longest, five letters.
        writer.write_str(&"     "[level.len().min(5)..])?;
        writer.write_str(level)?;
        writer.write_char(' ')?;
        let mut within = false;
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            within = true;
            writer.write_str(span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                writer.write_char('{')?;
                writer.write_str(fields)?;
                writer.write_char('}')?;
            }
            writer.write_char(':')?;
        }
        if within {
            writer.write_char(' ')?;
        }
        writer.write_str(metadata.target())?;
        writer.write_str(": ")?;
        context.format_fields(writer.by_ref(), event)?;
        writer.write_char('\n')
    }
}

/// Fields: `name=value name="text"`
pub(crate) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            separator: "",
            outcome: Ok(()),
        };
        fields.record(&mut line);
        line.outcome
    }
}

/// The fields of a line.
struct Line<'w> {
    writer: Writer<'w>,
    separator: &'static str,
    outcome: fmt::Result,
}

impl Line<'_> {
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.outcome.is_err() {
            return;
        }
        let Self {
            writer, separator, ..
        } = self;
        let written = writer.write_str(separator).and_then(|()| match field.name() {
            "message" => Ok(()),
            name => writer
                .write_str(name.trim_start_matches("r#"))
                .and_then(|()| writer.write_char('=')),
        });
        self.outcome = written.and_then(|()| write(&mut self.writer));
        self.separator = " ";
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Whatever came into it, the line stays one, and a terminal is told nothing.
        self.field(field, |writer| write!(Shown(writer), "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let escaped = |byte: u8| !matches!(byte, b' '..=b'~') | (byte == b'"') | (byte == b'\\');
        // Without a branch a byte, since most texts have nothing to escape.
        let any = value.bytes().fold(false, |any, byte| any | escaped(byte));
        self.field(field, |writer| {
            if any {
                return write!(writer, "{value:?}");
            }
            writer.write_char('"')?;
            writer.write_str(value)?;
            writer.write_char('"')
        });
    }
}

/// Writes control characters as escapes.
struct Shown<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Shown<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            match piece.chars().next_back().filter(|last| last.is_control()) {
                Some(control) => {
                    self.0.write_str(&piece[..piece.len() - control.len_utf8()])?;
                    write!(self.0, "{}", control.escape_default())?;
                }
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use shelfmark::Timestamp;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Kept;

        fn make_writer(&self) -> Kept {
            self.clone()
        }
    }

    /// What `log` writes, in this format or in that of tracing-subscriber.
    fn text(plain: bool, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(kept.clone());
        if plain {
            let subscriber = subscriber
                .fmt_fields(Fields)
                .event_format(Lines::default())
                .finish();
            tracing::subscriber::with_default(subscriber, log);
        } else {
            tracing::subscriber::with_default(subscriber.finish(), log);
        }
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines, each without its time.
    fn lines(text: &str) -> Vec<&str> {
        text.lines()
            .map(|line| {
                let (time, rest) = line.split_once(' ').unwrap();
                assert!(time.ends_with('Z') && time.parse::<Timestamp>().is_ok(), "{line}");
                rest
            })
            .collect()
    }

    #[test]
    fn lines_are_those_of_tracing_subscriber() {
        let log = || {
            tracing::trace!("nothing more");
            tracing::error!(private = "it broke: \"here\"\n\u{1b}[31m", "request failed");
            let nobody: Option<&str> = None;
            let outer = tracing::info_span!("request", trace_id = "00ff", late = tracing::field::Empty);
            let _outer = outer.enter();
            tracing::info!(method = %"GET", route = "/v1/{id}", nobody, some = Some("ann"), status = 200_u16, ms = 0.25, "request");
            let _inner = tracing::debug_span!("inner").entered();
            outer.record("late", -1);
            tracing::warn!(debug = ?Some("\\ü"), truth = true, r#type = 1, "a {} one", "formatted");
            tracing::info!(only = "fields");
        };
        let (plain, usual) = (text(true, log), text(false, log));
        assert_eq!(lines(&plain).len(), 5);
        assert_eq!(lines(&plain), lines(&usual));
    }

    #[test]
    fn whatever_is_logged_stays_one_line_and_tells_a_terminal_nothing() {
        let log = || tracing::info!(shown = %"two\nlines\u{9b}31m", "and\r\u{1b}[2J\nmore");
        assert_eq!(
            lines(&text(true, log)),
            [r" INFO shelfmark::log::tests: and\r\u{1b}[2J\nmore shown=two\nlines\u{9b}31m"]
        );
    }
}
