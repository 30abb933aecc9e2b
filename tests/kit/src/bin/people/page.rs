//! Page of results: tables in Markdown.

use asterscribe_testkit::words::WordErrors;

/// A run over a list of prompts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) engine: String,
    pub(crate) model: String,
    pub(crate) window: String,
    pub(crate) list: String,
    pub(crate) errors: WordErrors,
    pub(crate) prompts: usize,
    /// Prompts on which the engine made more than one try.
    pub(crate) retried: usize,
    /// CPU time for all prompts together, milliseconds.
    pub(crate) cpu_ms: u64,
    pub(crate) audio_ms: u64,
    /// Peak memory in octets, where the program reports it.
    pub(crate) peak_memory: Option<u64>,
}

impl Row {
    fn cpu_each(&self) -> f64 {
        self.cpu_ms as f64 / self.prompts.max(1) as f64
    }

    /// CPU seconds for a minute of audio.
    fn cpu_a_minute(&self) -> f64 {
        self.cpu_ms as f64 / self.audio_ms.max(1) as f64 * 60.0
    }

    fn words(&self) -> String {
        let (wrong, of) = (self.errors.total(), self.errors.reference);
        format!("{:.2} % ({wrong} of {of})", 100.0 * self.errors.rate())
    }

    fn memory(&self) -> String {
        let mib = self.peak_memory.map(|octets| octets >> 20);
        mib.map_or_else(String::new, |mib| mib.to_string())
    }
}

/// Text of the page in Markdown.
pub(crate) fn page(
    english: &[[Row; 2]],
    languages: &[[Row; 2]],
    peers: &[Row],
    calls: &[String],
) -> String {
    let mut text = format!(
        "# Real models on recordings of people\n\n\
         Written by `make bench-people`: Asterisk's prompts (`make real-speech`), at 8 kHz, for our engines through µ-law, one after the other \
         on one thread of this machine: {}. CPU time is that of recognition alone, words with times included; a program of its own loads \
         each model. Margins and thresholds were chosen on a part of the English prompts, so their figures flatter a little. The texts of the other \
         languages differ from what is said here and there: they compare windows, and say nothing of how well a language is heard.\n\n",
        processor()
    );
    text += "## English: prompts of three words and more, and of one or two\n\n\
             | model | window | words wrong | tried again | CPU ms a prompt | CPU s a minute | MiB at most | short: words wrong | tried again | CPU ms a prompt |\n\
             |---|---|---|---|---|---|---|---|---|---|\n";
    for [long, short] in english {
        text += &format!(
            "| {} | {} | {} | {} of {} | {:.0} | {:.2} | {} | {} | {} of {} | {:.0} |\n",
            long.model,
            long.window,
            long.words(),
            long.retried,
            long.prompts,
            long.cpu_each(),
            long.cpu_a_minute(),
            long.memory(),
            short.words(),
            short.retried,
            short.prompts,
            short.cpu_each(),
        );
    }
    text += "\n## Other languages, `base`\n\n\
             | list | prompts | whole window: words wrong | CPU ms a prompt | as by default: words wrong | tried again | CPU ms a prompt |\n\
             |---|---|---|---|---|---|---|\n";
    for [whole, fitted] in languages {
        text += &format!(
            "| {} | {} | {} | {:.0} | {} | {} | {:.0} |\n",
            whole.list,
            whole.prompts,
            whole.words(),
            whole.cpu_each(),
            fitted.words(),
            fitted.retried,
            fitted.cpu_each(),
        );
    }
    text += "\n## Beside others\n\n\
             On fewer of the English prompts (the first figure of each row), in the same run; theirs without µ-law, greedy, whole windows. The last column is ours as by default, CTranslate2, divided by the row.\n\n\
             | prompts | program | model | window | words wrong | CPU ms a prompt | CPU s a minute | ours is |\n\
             |---|---|---|---|---|---|---|---|\n";
    for row in peers {
        let ours = peers.iter().rfind(|ours| ours.model == row.model);
        let share = ours.map_or(0.0, |ours| ours.cpu_each() / row.cpu_each().max(1e-9));
        text += &format!(
            "| {} | {} | {} | {} | {} | {:.0} | {:.2} | {share:.2}x |\n",
            row.prompts,
            row.engine,
            row.model,
            row.window,
            row.words(),
            row.cpu_each(),
            row.cpu_a_minute(),
        );
    }
    text += "\n## Calls that are held\n";
    for held in calls {
        text += &format!("\n`asterscribe-bench calls`: {held}");
    }
    text
}

/// Name and number of the processors, and whether they have AVX-512 VNNI.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = || told.lines().filter(|line| line.starts_with("model name"));
    let name = models().next().and_then(|line| line.split_once(": "));
    let vnni = told.contains("avx512_vnni");
    format!(
        "{} × {}, {} AVX-512 VNNI",
        models().count(),
        name.map_or("an unknown processor", |(_, name)| name),
        if vnni { "with" } else { "without" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, engine: &str, cpu_ms: u64) -> Row {
        Row {
            engine: engine.to_owned(),
            model: model.to_owned(),
            window: "whole".to_owned(),
            list: "en".to_owned(),
            errors: WordErrors {
                substitutions: 1,
                reference: 40,
                ..WordErrors::default()
            },
            prompts: 10,
            retried: 2,
            cpu_ms,
            audio_ms: 30_000,
            peak_memory: Some(200 << 20),
        }
    }

    #[test]
    fn figures_are_of_a_prompt_and_of_a_minute_and_ours_is_a_share_of_theirs() {
        let peers = [
            row("base", "other", 8_000),
            row("base", "CTranslate2", 2_000),
        ];
        let pair = [peers[0].clone(), peers[1].clone()];
        let pairs = [pair];
        let page = page(&pairs, &pairs, &peers, &["5 calls\n".to_owned()]);
        let other = "| 10 | other | base | whole | 2.50 % (1 of 40) | 800 | 16.00 | 0.25x |";
        assert!(page.contains(other), "{page}");
        let english = "| base | whole | 2.50 % (1 of 40) | 2 of 10 | 800 | 16.00 | 200 | 2.50 % (1 of 40) | 2 of 10 | 200 |";
        assert!(page.contains(english), "{page}");
        assert!(page.ends_with(": 5 calls\n"), "{page}");
    }
}
