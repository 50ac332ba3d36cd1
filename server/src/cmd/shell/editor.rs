//! The line editor: keys, colours, history, completion, and when a text is whole.

use super::complete::{FromDatabase, Names};
use super::highlight::Colours;
use super::{history, pieces};
use musterdb::TransactionState;
use reedline::{
    Color, ColumnarMenu, DefaultHinter, EditCommand, Emacs, KeyCode, KeyModifiers, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, ValidationResult, Validator,
    default_emacs_keybindings,
};
use std::borrow::Cow;

const MENU: &str = "completion";

/// An editor that completes from these names.
pub(super) fn new(names: Box<dyn Names>, persistent_history: bool, colour: bool) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let new_line = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, new_line);
    let mut menu = ColumnarMenu::default().with_name(MENU).with_columns(4).with_marker("> ");
    if colour {
        menu = menu
            .with_text_style(Color::Default.normal())
            .with_selected_text_style(Color::Default.reverse())
            .with_description_text_style(Color::DarkGray.normal());
    }
    let mut editor = Reedline::create()
        .with_validator(Box::new(WholeStatements))
        .with_completer(Box::new(FromDatabase::new(names)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .use_bracketed_paste(true)
        .with_ansi_colors(colour);
    if colour {
        let hinter = DefaultHinter::default().with_style(Color::DarkGray.normal());
        editor = editor.with_highlighter(Box::new(Colours)).with_hinter(Box::new(hinter));
    }
    match history::open(persistent_history) {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// A statement is whole after its semicolon, a command after its line.
struct WholeStatements;

impl Validator for WholeStatements {
    fn validate(&self, text: &str) -> ValidationResult {
        if pieces::pieces(text).1 { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// `muster> `, `muster*> ` in a transaction, `muster!> ` in one that failed; and `     -> ` on the lines of a statement that
/// goes on.
pub(super) struct MusterPrompt(pub(super) TransactionState);

impl Prompt for MusterPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self.0 {
            TransactionState::None => "muster",
            TransactionState::Open => "muster*",
            TransactionState::Failed => "muster!",
        })
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("     -> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}
