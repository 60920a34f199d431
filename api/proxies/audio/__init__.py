"""Audio: so far the merge of words and speakers (`merge`), pure code that nothing serves yet."""
