package tokenizer

import (
	"encoding/json"
	"fmt"
)

// rawPost is a post-processor of the file: what is put around a text.
type rawPost struct {
	Single []struct {
		Special *struct {
			ID   string `json:"id"`
			Kind int64  `json:"type_id"`
		} `json:"SpecialToken"`
		Sequence *struct {
			Kind int64 `json:"type_id"`
		} `json:"Sequence"`
	} `json:"single"`
	Special map[string]struct {
		IDs []int64 `json:"ids"`
	} `json:"special_tokens"`
	Before [2]any            `json:"cls"`
	After  [2]any            `json:"sep"`
	List   []json.RawMessage `json:"processors"`
}

func (t *Tokenizer) readPost(data json.RawMessage) error {
	kind, err := typed(data)
	if err != nil || kind == "" {
		return err
	}
	var p rawPost
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	switch kind {
	case "TemplateProcessing":
		return t.template(&p)
	case "BertProcessing", "RobertaProcessing":
		first, ok1 := p.Before[1].(float64)
		last, ok2 := p.After[1].(float64)
		if !ok1 || !ok2 {
			return fmt.Errorf("%s without the tokens cls and sep", kind)
		}
		t.before, t.after = []special{{int64(first), 0}}, []special{{int64(last), 0}}
		return nil
	case "ByteLevel": // moves offsets, which are not kept
		return nil
	case "Sequence":
		for _, one := range p.List {
			if err := t.readPost(one); err != nil {
				return err
			}
		}
		return nil
	}
	return unsupported("post-processor", kind)
}

// template reads what stands before and after the one text.
func (t *Tokenizer) template(p *rawPost) error {
	seen := false
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil && seen:
			return unsupported("template", "a text twice")
		case piece.Sequence != nil:
			seen, t.textType = true, piece.Sequence.Kind
		case piece.Special != nil:
			token, ok := p.Special[piece.Special.ID]
			if !ok {
				return fmt.Errorf("the template names a token %q without an id", piece.Special.ID)
			}
			for _, id := range token.IDs {
				if seen {
					t.after = append(t.after, special{id, piece.Special.Kind})
				} else {
					t.before = append(t.before, special{id, piece.Special.Kind})
				}
			}
		}
	}
	return nil
}
