/* Words that listings are made of: real cities with their coordinates, zones and currencies. */
#ifndef TESTS_SANDBOX_WORDS_H
#define TESTS_SANDBOX_WORDS_H

struct city {
	const char *name, *state, *country, *zip, *timezone, *currency;
	double lat, lng;
	int price; /* of an ordinary night, in whole units of the currency */
};

static const struct city cities[] = {
	{ "Lisbon", "Lisboa", "Portugal", "1100-148", "Europe/Lisbon", "EUR", 38.71667, -9.13333,
	  110 },
	{ "Porto", "Porto", "Portugal", "4050-253", "Europe/Lisbon", "EUR", 41.14961, -8.61099,
	  90 },
	{ "Barcelona", "Catalonia", "Spain", "08002", "Europe/Madrid", "EUR", 41.38879, 2.15899,
	  140 },
	{ "Paris", "Île-de-France", "France", "75004", "Europe/Paris", "EUR", 48.85341, 2.3488,
	  180 },
	{ "Zürich", "Zürich", "Switzerland", "8001", "Europe/Zurich", "CHF", 47.36667, 8.55, 210 },
	{ "København", "Hovedstaden", "Denmark", "1050", "Europe/Copenhagen", "DKK", 55.67594,
	  12.56553, 1150 },
	{ "Reykjavík", "Höfuðborgarsvæðið", "Iceland", "101", "Atlantic/Reykjavik", "ISK", 64.13548,
	  -21.89541, 24000 },
	{ "Kraków", "Małopolskie", "Poland", "31-042", "Europe/Warsaw", "PLN", 50.06143, 19.93658,
	  320 },
	{ "Athens", "Attica", "Greece", "105 58", "Europe/Athens", "EUR", 37.98376, 23.72784, 95 },
	{ "Edinburgh", "Scotland", "United Kingdom", "EH1 1YZ", "Europe/London", "GBP", 55.95206,
	  -3.19648, 130 },
	{ "New York", "New York", "United States", "10012", "America/New_York", "USD", 40.71427,
	  -74.00597, 260 },
	{ "Austin", "Texas", "United States", "78704", "America/Chicago", "USD", 30.26715,
	  -97.74306, 170 },
	{ "Honolulu", "Hawaii", "United States", "96815", "Pacific/Honolulu", "USD", 21.30694,
	  -157.85833, 230 },
	{ "Montréal", "Québec", "Canada", "H2Y 1C6", "America/Toronto", "CAD", 45.50884, -73.58781,
	  160 },
	{ "Ciudad de México", "CDMX", "Mexico", "06700", "America/Mexico_City", "MXN", 19.42847,
	  -99.12766, 1400 },
	{ "São Paulo", "São Paulo", "Brazil", "01310-100", "America/Sao_Paulo", "BRL", -23.5475,
	  -46.63611, 380 },
	{ "Buenos Aires", "CABA", "Argentina", "C1043AAZ", "America/Argentina/Buenos_Aires", "USD",
	  -34.61315, -58.37723, 75 },
	{ "Cape Town", "Western Cape", "South Africa", "8001", "Africa/Johannesburg", "ZAR",
	  -33.92584, 18.42322, 1600 },
	{ "Marrakesh", "Marrakesh-Safi", "Morocco", "40000", "Africa/Casablanca", "MAD", 31.63416,
	  -7.99994, 700 },
	{ "Kuwait City", "Al Asimah", "Kuwait", "15000", "Asia/Kuwait", "KWD", 29.36972, 47.97833,
	  38 },
	{ "Kathmandu", "Bagmati", "Nepal", "44600", "Asia/Kathmandu", "USD", 27.70169, 85.3206,
	  45 },
	{ "東京", "東京都", "Japan", "150-0001", "Asia/Tokyo", "JPY", 35.6895, 139.69171, 18000 },
	{ "Chiang Mai", "Chiang Mai", "Thailand", "50200", "Asia/Bangkok", "THB", 18.79038,
	  98.98468, 1500 },
	{ "Sydney", "New South Wales", "Australia", "2000", "Australia/Sydney", "AUD", -33.86785,
	  151.20732, 220 },
};

static const char *const adjectives[] = { "Sunny",     "Quiet",    "Charming", "Bright", "Modern",
					  "Rustic",    "Cosy",     "Grand",    "Hidden", "Airy",
					  "Colourful", "Historic", "Seaside",  "Elegant" };
static const char *const places[] = { "Loft",  "Studio",  "Townhouse", "Penthouse", "Garden Flat",
				      "Villa", "Cottage", "Apartment", "Riad",      "Cabin" };
static const char *const features[] = {
	"with Terrace",   "near the Old Town", "by the River", "with Sea View", "above the Market",
	"with Fireplace", "in the Park",       "& Pool",       "\"The Nest\"",  "5 min to Metro"
};
static const char *const property_types[] = { "Apartment",     "House",     "Condominium",
					      "Loft",          "Villa",     "Cabin",
					      "Guesthouse",    "Townhouse", "Bed & Breakfast",
					      "Boutique hotel" };
static const char *const room_types[] = { "Entire home/apartment", "Private room", "Shared room" };
static const char *const streets[] = { "Rua da Rosa",    "Harbour Street", "Via Roma",
				       "King's Road",    "Calle Mayor",    "Lindenstraße",
				       "Rue des Écoles", "Hill Lane",      "Avenida Central",
				       "Station Road" };
static const char *const amenity_words[] = { "Wireless Internet",  "Kitchen",    "Washer",
					     "Air conditioning",   "Heating",    "Elevator",
					     "Free parking",       "Hair dryer", "Smoke detector",
					     "Dedicated workspace" };
static const char *const tag_words[] = {
	"beach", "family", "pets", "long-stay", "business", "new"
};
static const char *const caption_words[] = { "Living room", "Bedroom",  "Kitchen", "Bathroom",
					     "View",        "Entrance", "Terrace", "Street" };
static const char *const first_names[] = { "Ana",       "Jürgen",     "Marie-Claire", "Søren",
					   "Oluwaseun", "Yuki",       "Priya",        "Michał",
					   "John",      "María José", "Wei",          "Fatima" };
static const char *const last_names[] = { "García", "O'Neill", "Müller",     "Nakamura",
					  "Okafor", "Silva",   "Kowalski",   "Dubois",
					  "Smith",  "Haddad",  "Þórsdóttir", "van der Berg" };
static const char *const sources[] = { "airbnb2", "bookingCom", "manual", "website", "homeaway2" };

#endif
