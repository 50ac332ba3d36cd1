//! Colours for what is being typed: keywords, texts, numbers, comments, commands.

use super::lexer::{Kind, tokens};
use super::words::is_keyword;
use reedline::{Color, Highlighter, StyledText};

/// Colours by the words of the language.
pub(super) struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        for token in tokens(line) {
            let style = match token.kind {
                Kind::Word if is_keyword(token.text) => Color::Blue.bold(),
                Kind::Text { open: false } => Color::Green.normal(),
                // A quote that is still open shows how far it reaches.
                Kind::Text { open: true } | Kind::Quoted { open: true } => Color::Yellow.normal(),
                Kind::Number => Color::Cyan.normal(),
                Kind::Comment => Color::DarkGray.normal(),
                Kind::Command => Color::Magenta.normal(),
                Kind::Space | Kind::Quoted { .. } | Kind::Word | Kind::Symbol => Color::Default.normal(),
            };
            styled.push((style, token.text.to_owned()));
        }
        styled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_get_their_colours_and_every_letter_stays() {
        let line = "SELECT city FROM t WHERE city = 'Kyoto' AND n > 5 -- yes";
        let styled = Colours.highlight(line, 0);
        assert_eq!(styled.raw_string(), line);
        let colour = |text: &str| styled.buffer.iter().find(|(_, part)| part == text).unwrap().0;
        assert_eq!(colour("SELECT"), Color::Blue.bold());
        assert_eq!(colour("city"), Color::Default.normal());
        assert_eq!(colour("'Kyoto'"), Color::Green.normal());
        assert_eq!(colour("5"), Color::Cyan.normal());
        assert_eq!(colour("-- yes"), Color::DarkGray.normal());
        let command = Colours.highlight("\\d members", 0);
        assert_eq!(command.buffer[0], (Color::Magenta.normal(), "\\d members".to_owned()));
    }
}
