//! Numbers as words.

/// A way to read a string of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As a number: 42 is forty-two. More than six digits are read one by one.
    Cardinal,
    /// Digit by digit, as telephone numbers are.
    Digits,
    /// In pairs from the left, as years are: 1984 is nineteen eighty-four.
    Pairs,
}

impl Reading {
    /// Every reading.
    pub const ALL: [Self; 3] = [Self::Cardinal, Self::Digits, Self::Pairs];
}

/// A text with its digits as words of a language; unchanged where that is not known.
pub(super) fn as_words(language: &str, text: &str, reading: Reading) -> String {
    let Some(numerals) = Numerals::of(language) else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (digits, length) = digits(rest);
        rest = &rest[length..];
        let words = numerals.read(&digits, reading);
        out.push(' ');
        match ordinal_suffix(rest).filter(|_| language == "en") {
            Some(length) => {
                out.push_str(&english_ordinal(&words));
                rest = &rest[length..];
            }
            None => out.push_str(&words),
        }
        out.push(' ');
    }
    out.push_str(rest);
    out
}

/// The digits at the beginning of a text, without commas between thousands, and their length in
/// the text.
fn digits(text: &str) -> (String, usize) {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let (mut digits, mut at) = (String::new(), 0);
    loop {
        if is_digit(at) {
            digits.push(char::from(bytes[at]));
            at += 1;
        } else if bytes.get(at) == Some(&b',')
            && (1..=3).all(|n| is_digit(at + n))
            && !is_digit(at + 4)
        {
            at += 1;
        } else {
            return (digits, at);
        }
    }
}

fn ordinal_suffix(text: &str) -> Option<usize> {
    let is_suffix = ["st", "nd", "rd", "th"]
        .iter()
        .any(|end| text.starts_with(end));
    let ends = text.chars().nth(2).is_none_or(|c| !c.is_alphanumeric());
    (is_suffix && ends).then_some(2)
}

fn english_ordinal(words: &str) -> String {
    let (before, last) = words.rsplit_once(' ').unwrap_or(("", words));
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        other => match other.strip_suffix('y') {
            Some(tens) => format!("{tens}ieth"),
            None => format!("{other}th"),
        },
    };
    format!("{before} {last}")
}

/// Number words of a language.
struct Numerals {
    /// Words for 0 to 19.
    ones: [&'static str; 20],
    /// Words for 20, 30 … 90; from 70 on empty where a language counts on from 60 and 80.
    tens: [&'static str; 8],
    /// Words for 100, 200 … 900.
    hundreds: Hundreds,
    thousand: &'static str,
    /// Rule by which tens and ones are joined.
    join: Join,
}

enum Hundreds {
    /// "two hundred".
    Counted(&'static str),
    /// Each has a word; the first one stands for 100 exactly.
    Words(&'static str, [&'static str; 9]),
}

enum Join {
    Space,
    /// "treinta y uno", from 30 on; below, one word.
    Spanish,
    /// One word, the vowel at the end of the tens lost before uno and otto.
    Italian,
    French,
}

impl Numerals {
    fn of(language: &str) -> Option<&'static Self> {
        Some(match language {
            "en" => &ENGLISH,
            "es" => &SPANISH,
            "fr" => &FRENCH,
            "it" => &ITALIAN,
            "ru" => &RUSSIAN,
            _ => return None,
        })
    }

    fn read(&self, digits: &str, reading: Reading) -> String {
        let one_by_one = || {
            let words = digits
                .bytes()
                .map(|digit| self.ones[usize::from(digit - b'0')]);
            words.collect::<Vec<_>>().join(" ")
        };
        match reading {
            Reading::Digits => one_by_one(),
            Reading::Pairs if digits.len() == 4 && !digits.contains("00") => {
                let pair = |part: &str| self.cardinal(part.parse().unwrap_or(0));
                format!("{} {}", pair(&digits[..2]), pair(&digits[2..]))
            }
            _ if digits.len() > 6 || (digits.len() > 1 && digits.starts_with('0')) => one_by_one(),
            _ => self.cardinal(digits.parse().unwrap_or(0)),
        }
    }

    /// A number below a million.
    fn cardinal(&self, number: usize) -> String {
        match number {
            0..20 => self.ones[number].to_owned(),
            20..100 => self.two_digits(number),
            100..1000 => {
                let hundreds = match &self.hundreds {
                    Hundreds::Counted(word)
                        if number < 200 && !matches!(self.join, Join::Space) =>
                    {
                        (*word).to_owned()
                    }
                    Hundreds::Counted(word) => format!("{} {word}", self.ones[number / 100]),
                    Hundreds::Words(exact, _) if number == 100 => (*exact).to_owned(),
                    Hundreds::Words(_, words) => words[number / 100 - 1].to_owned(),
                };
                self.followed(hundreds, number % 100)
            }
            _ => {
                let thousands = match number / 1000 {
                    1 if !matches!(self.join, Join::Space) => self.thousand.to_owned(),
                    n => format!("{} {}", self.cardinal(n), self.thousand),
                };
                self.followed(thousands, number % 1000)
            }
        }
    }

    fn followed(&self, words: String, rest: usize) -> String {
        match rest {
            0 => words,
            rest => format!("{words} {}", self.cardinal(rest)),
        }
    }

    fn two_digits(&self, number: usize) -> String {
        let (ten, one) = (number / 10, number % 10);
        let tens = self.tens[ten - 2];
        if let Join::French = self.join
            && matches!(ten, 7 | 9)
        {
            // 70 is sixty-ten, 90 four-twenties-ten.
            let base = self.tens[ten - 3];
            let and = if number == 71 { " et" } else { "" };
            return format!("{base}{and} {}", self.ones[10 + one]);
        }
        if one == 0 {
            return tens.to_owned();
        }
        let ones = self.ones[one];
        match self.join {
            Join::Spanish if ten == 2 => format!("veinti{ones}"),
            Join::Spanish => format!("{tens} y {ones}"),
            Join::Italian if matches!(one, 1 | 8) => format!("{}{ones}", &tens[..tens.len() - 1]),
            Join::Italian => format!("{tens}{ones}"),
            Join::French if one == 1 && ten < 8 => format!("{tens} et {ones}"),
            _ => format!("{tens} {ones}"),
        }
    }
}

static ENGLISH: Numerals = Numerals {
    ones: [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ],
    tens: [
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ],
    hundreds: Hundreds::Counted("hundred"),
    thousand: "thousand",
    join: Join::Space,
};

static SPANISH: Numerals = Numerals {
    ones: [
        "cero",
        "uno",
        "dos",
        "tres",
        "cuatro",
        "cinco",
        "seis",
        "siete",
        "ocho",
        "nueve",
        "diez",
        "once",
        "doce",
        "trece",
        "catorce",
        "quince",
        "dieciséis",
        "diecisiete",
        "dieciocho",
        "diecinueve",
    ],
    tens: [
        "veinte",
        "treinta",
        "cuarenta",
        "cincuenta",
        "sesenta",
        "setenta",
        "ochenta",
        "noventa",
    ],
    hundreds: Hundreds::Words(
        "cien",
        [
            "ciento",
            "doscientos",
            "trescientos",
            "cuatrocientos",
            "quinientos",
            "seiscientos",
            "setecientos",
            "ochocientos",
            "novecientos",
        ],
    ),
    thousand: "mil",
    join: Join::Spanish,
};

static FRENCH: Numerals = Numerals {
    ones: [
        "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix",
        "onze", "douze", "treize", "quatorze", "quinze", "seize", "dix sept", "dix huit",
        "dix neuf",
    ],
    tens: [
        "vingt",
        "trente",
        "quarante",
        "cinquante",
        "soixante",
        "",
        "quatre vingt",
        "",
    ],
    hundreds: Hundreds::Counted("cent"),
    thousand: "mille",
    join: Join::French,
};

static ITALIAN: Numerals = Numerals {
    ones: [
        "zero",
        "uno",
        "due",
        "tre",
        "quattro",
        "cinque",
        "sei",
        "sette",
        "otto",
        "nove",
        "dieci",
        "undici",
        "dodici",
        "tredici",
        "quattordici",
        "quindici",
        "sedici",
        "diciassette",
        "diciotto",
        "diciannove",
    ],
    tens: [
        "venti",
        "trenta",
        "quaranta",
        "cinquanta",
        "sessanta",
        "settanta",
        "ottanta",
        "novanta",
    ],
    hundreds: Hundreds::Words(
        "cento",
        [
            "cento",
            "duecento",
            "trecento",
            "quattrocento",
            "cinquecento",
            "seicento",
            "settecento",
            "ottocento",
            "novecento",
        ],
    ),
    thousand: "mila",
    join: Join::Italian,
};

static RUSSIAN: Numerals = Numerals {
    ones: [
        "ноль",
        "один",
        "два",
        "три",
        "четыре",
        "пять",
        "шесть",
        "семь",
        "восемь",
        "девять",
        "десять",
        "одиннадцать",
        "двенадцать",
        "тринадцать",
        "четырнадцать",
        "пятнадцать",
        "шестнадцать",
        "семнадцать",
        "восемнадцать",
        "девятнадцать",
    ],
    tens: [
        "двадцать",
        "тридцать",
        "сорок",
        "пятьдесят",
        "шестьдесят",
        "семьдесят",
        "восемьдесят",
        "девяносто",
    ],
    hundreds: Hundreds::Words(
        "сто",
        [
            "сто",
            "двести",
            "триста",
            "четыреста",
            "пятьсот",
            "шестьсот",
            "семьсот",
            "восемьсот",
            "девятьсот",
        ],
    ),
    thousand: "тысяч",
    join: Join::Space,
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn say(language: &str, number: usize) -> String {
        Numerals::of(language).unwrap().cardinal(number)
    }

    #[test]
    fn numbers_are_said_as_each_language_says_them() {
        for (language, number, words) in [
            ("en", 115, "one hundred fifteen"),
            ("en", 8500, "eight thousand five hundred"),
            ("es", 21, "veintiuno"),
            ("es", 100, "cien"),
            ("es", 1234, "mil doscientos treinta y cuatro"),
            ("fr", 71, "soixante et onze"),
            ("fr", 81, "quatre vingt un"),
            ("fr", 99, "quatre vingt dix neuf"),
            ("fr", 600, "six cent"),
            ("it", 28, "ventotto"),
            ("it", 500, "cinquecento"),
            ("ru", 600, "шестьсот"),
        ] {
            assert_eq!(say(language, number), words);
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_it_and_no_digit_is_left(text in "\\PC{0,40}[0-9,]{0,9}\\PC{0,8}") {
            for language in ["en", "es", "fr", "it", "ru"] {
                for reading in Reading::ALL {
                    let words = as_words(language, &text, reading);
                    prop_assert!(!words.contains(|c: char| c.is_ascii_digit()));
                }
            }
        }
    }
}
