package api

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/queue/registry"
)

// readSettings reads a body of settings; none at all is {}, and so is an empty one.
func readSettings(c *call, body *[]byte) error {
	media, err := mediaType(c.r)
	if err == nil && media != mediaJSON {
		err = refuse(unsupported, "", "want Content-Type: application/json")
	}
	if err != nil && c.r.ContentLength > 0 {
		return err
	}
	if err := c.readRaw(body); err != nil {
		return err
	}
	if len(*body) == 0 {
		*body = append(*body, "{}"...)
		return nil
	}
	if err != nil {
		return err
	}
	return checkJSON(*body)
}

// applySettings changes the settings that body names; null resets one.
func applySettings(s *registry.NamespaceSettings, body []byte) error {
	values := map[string]*[]byte{}
	err := object(body, "", func(name string) *[]byte {
		if _, known := registry.SettingNamed(name); !known {
			return nil
		}
		if values[name] == nil {
			values[name] = new([]byte)
		}
		return values[name]
	})
	if err != nil {
		return err
	}
	for _, setting := range registry.AllSettings() {
		if value := values[setting.Name]; value != nil {
			if err := readSetting(setting.Name, *value, setting.Of(s)); err != nil {
				return err
			}
		}
	}
	return s.Check()
}

func readSetting(name string, value []byte, to any) error {
	if list, ok := to.(*[]string); ok {
		*list = nil
		if isNull(value) {
			return nil
		}
		isArray, err := elements(value, func(_ int, v []byte) error {
			s, err := text(name, v)
			*list = append(*list, s)
			return err
		})
		if !isArray {
			return refuse(invalid, name, name+" must be an array of patterns")
		}
		return err
	}
	var n float64
	if !isNull(value) && json.Unmarshal(value, &n) != nil {
		return refuse(invalid, name, name+" must be a number or null")
	}
	switch to := to.(type) {
	case *time.Duration:
		if n < 0 || n > math.MaxInt64/float64(time.Second)/2 {
			return refuse(invalid, name, name+" must be seconds from 1")
		}
		*to = time.Duration(n * float64(time.Second))
	case *float64:
		*to = n
	case *int:
		if n != math.Trunc(n) || math.Abs(n) > 1<<31 {
			return refuse(invalid, name, name+" must be a whole number or null")
		}
		*to = int(n)
	}
	return nil
}

// appendNamespace adds a namespace; null is a setting left to the server.
func appendNamespace(b []byte, s registry.NamespaceState) []byte {
	b = appendString(append(b, `{"namespace":`...), s.Namespace.String())
	b = appendTime(append(b, `,"created_at":`...), s.CreatedAt)
	for _, setting := range registry.AllSettings() {
		b = append(append(append(b, `,"`...), setting.Name...), `":`...)
		switch v := setting.Of(&s.Settings).(type) {
		case *[]string:
			b = appendStrings(b, *v)
		case *time.Duration:
			b = appendNumber(b, v.Seconds())
		case *float64:
			b = appendNumber(b, *v)
		case *int:
			b = appendNumber(b, float64(*v))
		}
	}
	return append(b, '}')
}

func appendStrings(b []byte, all []string) []byte {
	b = append(b, '[')
	for i, s := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

func appendNumber(b []byte, n float64) []byte {
	if n == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, n, 'f', -1, 64)
}
